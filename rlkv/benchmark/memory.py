"""What a cache holds, and how far the memory in use rises while one is filled."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from rlkv.headroom import give_back_heap

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK_RSS = "5"


def held_bytes(cache: object) -> int:
    """Bytes of the storages behind all tensors in `cache`; a shared storage counts once."""
    storages = [tensor.untyped_storage() for tensor in _tensors(cache, set())]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def _tensors(thing: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """Tensors in attributes and containers, each object visited once."""
    if id(thing) in seen or isinstance(thing, type):
        return
    seen.add(id(thing))
    inside: list[Any] = []
    if isinstance(thing, torch.Tensor):
        if not hasattr(thing, "__tensor_flatten__"):
            yield thing
            return
        # A quantised tensor: a shell whose numbers are in tensors of its own.
        inside = [getattr(thing, name) for name in thing.__tensor_flatten__()[0]]
    elif isinstance(thing, Mapping):
        inside = list(thing.values())
    elif isinstance(thing, (list, tuple)):
        inside = list(thing)
    elif hasattr(thing, "__dict__"):
        inside = list(vars(thing).values())
    for item in inside:
        yield from _tensors(item, seen)


def peak_growth(device: torch.device, work: Callable[[], object]) -> int | None:
    """Bytes by which memory in use rose at most during `work`, above the level before it.

    On CUDA these are the bytes that torch's allocator has handed out. On the CPU under Linux it
    is the resident set of this process: unused heap is given back to the system, the kernel's
    peak is reset, and read again after `work`; fragments of the heap move it by some MB either
    way, so it means little for the smallest models. Elsewhere there is no peak that can be reset:
    the answer is None and `work` is not run.
    """
    if device.type == "cuda":
        return _peak_on_cuda(device, work)
    if device.type == "cpu":
        return _peak_resident(work)
    return None


def _peak_on_cuda(device: torch.device, work: Callable[[], object]) -> int:
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_resident(work: Callable[[], object]) -> int | None:
    gc.collect()
    give_back_heap()  # else a contender would fill pages an earlier one left behind, unseen
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK_RSS)
    except OSError:  # no Linux, or a sandbox that hides it
        return None
    before = _peak_rss()
    if before is None:
        return None
    work()
    after = _peak_rss()
    return None if after is None else after - before


def _peak_rss() -> int | None:
    """The largest resident set since the last reset, in bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
