"""A model in a process that was forked from the one that loaded it, with a GPU of its own.

Knows what a fork leaves behind: the parent's memory, and none of its threads. Whoever forked may be
used again for a later call, when the parent has loaded other models since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rlkv.models import default_device, load_model

Loaded = tuple[Any, Any]

_here: dict[str, Loaded] = {}
"""The model of the last call, on this process's device. Always empty in the parent."""


def model_here(ref: str, inherited: Mapping[str, Loaded]) -> Loaded:
    """(model, tokenizer) on the fastest device of this process.

    Args:
        inherited: what the parent had loaded at the fork; what is not among it is loaded here.

    Raises:
        UserError: as `load_model`.
    """
    # The parent's threads are not here, and OpenMP would wait for them.
    torch.set_num_threads(1)
    if ref not in _here:
        _here.clear()  # the other model leaves the GPU
        model, tokenizer = inherited.get(ref) or load_model(ref, device="cpu", dtype="bfloat16")
        _here[ref] = model.to(default_device()), tokenizer
    return _here[ref]
