"""Cuts: how the scores rank the KV heads, and how many of them a sparsity or a budget keeps.

Knows numbers only; `rlkv.masks` applies what comes out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.errors import UserError


def ranks(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Ranks of `scores` `[layers, kv_heads]`, 0 the highest; ties fall by (layer, head)."""
    order = np.argsort(-scores, axis=None, kind="stable")
    ranked = np.empty(order.size, dtype=np.int64)
    ranked[order] = np.arange(order.size)
    return ranked.reshape(scores.shape)


def require_sparsity(sparsity: float) -> None:
    """Raises UserError if `sparsity` is not in [0, 1]."""
    if not 0.0 <= sparsity <= 1.0:
        raise UserError(
            f"Sparsity is the share of heads to compress, from 0 to 1; got {sparsity:g}."
        )


def kept_count(heads: int, sparsity: float) -> int:
    """Heads that keep a full cache at a sparsity: N - ceil(s (N - 1)), none at 1."""
    # Rounded first: 0.28 * 175 is 49.00000000000001 in floating point.
    return 0 if sparsity == 1.0 else heads - math.ceil(round(sparsity * (heads - 1), 9))


def affordable(heads: int, budget: int, *, token: int, length: int, window: int) -> int:
    """Heads that can keep a full cache within `budget` bytes of KV after `length` tokens.

    Args:
        token: bytes of one head's key and value.
        window: tokens that a compressed head keeps.

    Raises:
        UserError: if not even the fully compressed cache fits.
    """
    window = min(length, window)
    needed = token * heads * window
    if budget < needed:
        raise UserError(
            f"{budget} bytes are too few: with every head compressed {needed} are needed."
        )
    extra = token * (length - window)  # what a kept head takes beyond a compressed one
    return heads if not extra else min(heads, (budget - needed) // extra)
