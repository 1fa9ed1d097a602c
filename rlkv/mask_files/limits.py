"""What a mask file may be called and how large it may be. Checked before anything is parsed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.errors import UserError

GATES, CONFIG, TSV = "gates.safetensors", "config.json", "full_attention_heads.tsv"
PAPER_TSV = "adapter_weights.tsv"
NAMES = (GATES, CONFIG, TSV, PAPER_TSV)
PICTURE, CARD = "heads.svg", "README.md"
SCHEMA = 1
MAX_BYTES = 5_000_000
MAX_HEADS = 20_000
"""KV heads of a model; what has more could not be drawn."""
MAX_LAYERS = 10_000
MAX_WINDOW = 10**6
MAX_INFO = 256_000
"""Characters of a mask's notes: ten times those of a training on the largest models."""
MAX_DEPTH = 40
"""Lists and objects in each other there: a training has five or so, and what is much deeper
can't be sent on as JSON by everybody."""
Table = NDArray[np.float64]


def require_size(name: str, size: int) -> None:
    """Raises UserError if a file of `size` bytes is larger than any mask can be."""
    if size > MAX_BYTES:
        raise UserError(f"'{name}' has {size} bytes; a mask never has over {MAX_BYTES}.")


def require_shape(shape: tuple[int, ...]) -> None:
    """Raises UserError unless `shape` is that of a table of layers x KV heads of a model."""
    if len(shape) != 2 or 0 in shape or shape[0] > MAX_LAYERS or shape[0] * shape[1] > MAX_HEADS:
        raise UserError(f"A mask needs a layers x KV heads table, not shape {shape}.")


def require_finite(scores: NDArray[Any]) -> None:
    """Raises UserError if a value is no number."""
    if not np.isfinite(scores).all():
        raise UserError("The mask has scores that are not finite numbers; export it again.")


def require_info(info: Mapping[str, Any]) -> None:
    """Raises UserError if a mask's notes are larger or deeper than any training's can be."""
    if (size := len(json.dumps(info))) > MAX_INFO:
        raise UserError(f"The notes ('info') have {size} characters; at most {MAX_INFO} are read.")
    if _is_deeper(info, MAX_DEPTH):
        raise UserError(f"The notes ('info') are nested over {MAX_DEPTH} deep; export it again.")


def _is_deeper(value: object, most: int) -> bool:
    """Whether more than `most` lists and objects stand in each other."""
    if not isinstance(value, Mapping | list | tuple):
        return False
    parts = value.values() if isinstance(value, Mapping) else value
    return most == 0 or any(_is_deeper(part, most - 1) for part in parts)
