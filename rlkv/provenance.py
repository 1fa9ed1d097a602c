"""What a job ran on. A training is repeated bit for bit only where all of this is the same."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from rlkv import __version__
from rlkv.benchmark.machine import device_name
from rlkv.models import checked_device, device_named

PACKAGES = ("transformers", "trl", "accelerate", "numpy")


def versions(device: str) -> dict[str, str | int]:
    """Packages, machine and threads for a job on `device` ("auto", "cpu", "cuda", "mps").

    Raises:
        UserError: if there is no such device here.
    """
    return {
        "rlkv": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: _installed(name) for name in PACKAGES},
        "system": platform.platform(),
        "device": device_name(torch.device(checked_device(device_named(device)))),
        "threads": torch.get_num_threads(),
    }


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
