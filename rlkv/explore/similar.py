"""The heads most like one head, from a table of how alike all are (`rlkv.explore.likeness`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkv.errors import UserError


@dataclass(frozen=True)
class Alike:
    """Another head and how alike it is."""

    layer: int
    head: int
    likeness: float
    """0 to 1."""


def similar(shared: NDArray[np.float32], layer: int, head: int, top: int = 5) -> list[Alike]:
    """The heads most like one head, itself left out, the most alike first.

    Args:
        shared: `[layers, kv_heads, layers, kv_heads]`, as from `likeness`.

    Raises:
        UserError: if there is no such head.
    """
    layers, kv_heads = shared.shape[:2]
    if not (0 <= layer < layers and 0 <= head < kv_heads):
        raise UserError(
            f"There is no head {layer}.{head}: there are {layers} layers of {kv_heads} KV heads."
        )
    to_others = shared[layer, head].ravel().copy()
    to_others[layer * kv_heads + head] = -1.0
    order = np.argsort(-to_others, kind="stable")[: min(max(top, 0), to_others.size - 1)]
    return [Alike(int(i) // kv_heads, int(i) % kv_heads, float(to_others[i])) for i in order]
