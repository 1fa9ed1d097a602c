"""What was measured of a mask, and whether it is true of the mask at hand.

A training measures the ranking of its scores at several cuts. Where heads were kept or compressed
by hand, or the scores are others, those figures are the parent's and nobody knows the mask's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

METRICS = "metrics"
"""In a mask's notes: what its training measured."""
IMPORTED, HUB = "imported_from", "hub"
"""In a mask's notes: the file or repository of somebody else that it came from."""
CLAIMED = "claimed by the file it came from, not measured here"


def figure(mask: HeadMask, name: str) -> float | None:
    """A measured share, 0 to 1; None where there is none that is true of this very mask.

    `accuracy_at_50` holds for every cut of the scores, `accuracy_at_target` at the target only. An
    imported file may have filled its notes with anything.
    """
    metrics = mask.info.get(METRICS)
    if not isinstance(metrics, Mapping) or not is_cut(mask):
        return None
    if name == "accuracy_at_target" and not _is_at(mask, metrics.get("target_sparsity")):
        return None
    return _share(metrics.get(name))


def is_cut(mask: HeadMask) -> bool:
    """Whether the heads kept are the best of the scores, as no hand has changed them."""
    return bool(np.array_equal(mask.kept, mask.ranks() < mask.n_kept))


def is_claimed(info: Mapping[str, Any]) -> bool:
    """Whether a mask's figures are the word of whoever wrote its file."""
    return IMPORTED in info or HUB in info


def true_info(mask: HeadMask) -> dict[str, Any]:
    """The mask's notes, without figures that are not its own: what is kept and handed out."""
    return {k: v for k, v in mask.info.items() if k != METRICS or is_cut(mask)}


def _is_at(mask: HeadMask, sparsity: Any) -> bool:
    share = _share(sparsity)
    return share is not None and mask.n_kept == mask.at_sparsity(share).n_kept


def _share(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= 1 else None
