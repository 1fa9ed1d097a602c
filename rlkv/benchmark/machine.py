"""What a measurement was made on."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")


def machine(device: torch.device) -> dict[str, str | int]:
    """Names and versions; `cores` are the threads that torch uses, `date` is UTC."""
    return {
        "cpu": cpu_name(),
        "cores": torch.get_num_threads(),
        "device": device_name(device),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cpu_name() -> str:
    """The processor's model name, as far as the system tells it."""
    if _CPUINFO.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """Of the graphics card, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name() if device.type == "cpu" else device.type
