"""How much memory is free, asked while a model answers: a message in time instead of a crash.

On the CPU (and on Apple's GPUs, which share its memory) what is free is what the system calls
available, within the limits of the control groups. On CUDA it is what the driver has free, and
what torch keeps of it without using it.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from dataclasses import dataclass, field

import psutil

from rlkv.cgroups import limit_of_cgroups, room_in_cgroups

FRESH_S = 0.2
"""A reading is good for so long: reading the system's files for every token would slow it."""


@dataclass
class Headroom:
    """The free memory of one device, cheap enough to ask before every token.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, `mps`, as torch names it.
        reserve_share: share of all memory that is left to others; going below it is `short`.
    """

    device: str = "cpu"
    reserve_share: float = 0.05
    _read_at: float = field(default=float("-inf"), init=False, repr=False)
    _free: int = field(default=0, init=False, repr=False)
    _total: int = field(default=0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def total(self) -> int:
        """Bytes of memory in all, within the limits of the control groups."""
        if not self._total:
            self._total = total_bytes(self.device)
        return self._total

    @property
    def reserve(self) -> int:
        """Bytes that are left alone."""
        return int(self.total * self.reserve_share)

    def free(self) -> int:
        """Bytes free, at most `FRESH_S` seconds ago."""
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= FRESH_S:
                self._free = free_bytes(self.device)
                self._read_at = now
            return self._free

    def short(self, more: int = 0) -> bool:
        """Whether taking `more` bytes would go below the reserve."""
        return self.free() - more < self.reserve


def free_bytes(device: str = "cpu") -> int:
    """Bytes that a process of ours could still take on a device, read now."""
    if str(device).startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    return int(min(psutil.virtual_memory().available, room_in_cgroups()))


def total_bytes(device: str = "cpu") -> int:
    """Bytes of a device's memory, or of the tightest control group's limit."""
    if str(device).startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    return int(min(psutil.virtual_memory().total, limit_of_cgroups()))


def give_back() -> None:
    """Hands memory that nobody uses any more back to the system, so that others see it free."""
    gc.collect()
    give_back_heap()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def give_back_heap() -> None:
    """Returns the unused heap to the system; does nothing where the C library can't."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, TypeError, AttributeError):  # no glibc
        return


def gigabytes(count: int) -> str:
    """Bytes for people: GB with one digit, MB below one GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
