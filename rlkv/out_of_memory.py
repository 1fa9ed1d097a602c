"""How running out of memory is told from other errors, and how unused memory is given back."""

from __future__ import annotations

import gc

import torch

_WORDS = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")
"""torch's CPU allocator and CUDA's libraries raise plain RuntimeErrors with these."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that memory ran out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (torch.OutOfMemoryError, MemoryError)):
            return True
        if isinstance(seen, RuntimeError) and any(word in str(seen).lower() for word in _WORDS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def free_memory() -> None:
    """Gives unused memory back, so that the next attempt finds it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
