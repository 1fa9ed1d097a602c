"""What an evaluation may cut out of one mask: where its scores decide, and its own heads.

Scores that are tied at a cut do not say which heads to keep: what would be measured there is the
order of layers, and no ranking. And heads that were chosen by hand are in no ranking at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlkv.cuts import kept_count
from rlkv.evaluation.config import TOP_SPARSITIES, EvalConfig, MaskEntry
from rlkv.masks import HeadMask


@dataclass(frozen=True)
class Own:
    """The heads that a mask keeps by itself, measured as a point of their own."""

    mask: HeadMask
    sparsity: float
    """The chosen one that keeps as many heads, if there is one; else the mask's own."""
    by_hand: bool
    """Whether a head is kept that its scores rank below a compressed one."""


def decides(scores: NDArray[np.float32], count: int) -> bool:
    """Whether the scores alone say which the best `count` heads are."""
    if count in (0, scores.size):
        return True
    ordered = np.sort(scores, axis=None)[::-1]
    return bool(ordered[count - 1] != ordered[count])


def tied(entry: MaskEntry, sparsities: Iterable[float]) -> tuple[float, ...]:
    """The sparsities at which a mask's scores do not decide.

    None for masks that were stored without their heads: their evaluations are resumed as begun.
    """
    if not entry.kept:
        return ()
    scores = entry.mask().scores
    return tuple(s for s in sparsities if not decides(scores, kept_count(scores.size, s)))


def own_heads(entry: MaskEntry, sparsities: Sequence[float]) -> Own | None:
    """The mask's own heads where no cut of its scores gives them: edits by hand, ties."""
    if not entry.kept:
        return None
    mask = entry.mask()
    counts = {s: kept_count(mask.kept.size, s) for s in sparsities}
    equal = [s for s in sparsities if counts[s] == mask.n_kept]
    ranked = decides(mask.scores, mask.n_kept) and bool(
        (mask.kept == (mask.ranks() < mask.n_kept)).all()
    )
    if ranked and (equal or not tied(entry, sparsities)):
        return None
    low = mask.scores[mask.kept].min(initial=np.inf)
    high = mask.scores[~mask.kept].max(initial=-np.inf)
    return Own(mask, equal[0] if equal else round(mask.sparsity, 4), bool(low < high))


def notes(config: EvalConfig) -> Iterator[str]:
    """What people have to know of the chosen masks: points left out, heads measured as they are."""
    if "learned" not in config.methods:
        return
    asked = sorted({*config.sparsities, *(TOP_SPARSITIES if config.top else ())})
    for entry in config.masks:
        if missing := tied(entry, asked):
            words = ", ".join(f"{s:.4g}" for s in missing)
            yield f"The scores of {entry.name} are tied at sparsity {words}: not measured there"
        if own := own_heads(entry, config.sparsities):
            why = "were chosen by hand" if own.by_hand else "come at no sparsity asked for"
            yield f"The heads of {entry.name} {why}: measured as they are, as a point of their own"
