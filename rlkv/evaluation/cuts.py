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


def decides(scores: NDArray[np.float32], above: int) -> bool:
    """Whether the scores alone say which heads are the best `above`, and so which are the rest."""
    if above in (0, scores.size):
        return True
    ordered = np.sort(scores, axis=None)[::-1]
    return bool(ordered[above - 1] != ordered[above])


def tied(
    entry: MaskEntry, sparsities: Iterable[float], *, worst_kept: bool = False
) -> tuple[float, ...]:
    """The sparsities at which a mask's scores do not decide.

    With `worst_kept` the ranking is turned round: as many heads are kept, but the last ones, so
    that its line runs elsewhere among the scores. None for masks that were stored without their
    heads: their evaluations are resumed as begun.
    """
    if not entry.kept:
        return ()
    scores = entry.mask().scores
    counts = ((s, kept_count(scores.size, s)) for s in sparsities)
    lines = ((s, scores.size - kept if worst_kept else kept) for s, kept in counts)
    return tuple(s for s, above in lines if not decides(scores, above))


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
    learned = "learned" in config.methods
    for entry in config.masks:
        if learned and (missing := tied(entry, config.sparsities)):
            yield f"The scores of {entry.name} are {_left_out(missing)}"
        if missing := tied(entry, _turned(config, entry), worst_kept=True):
            yield f"Turned round, the scores of {entry.name} are {_left_out(missing)}"
        if learned and (own := own_heads(entry, config.sparsities)):
            why = "were chosen by hand" if own.by_hand else "come at no sparsity asked for"
            yield f"The heads of {entry.name} {why}: measured as they are, as a point of their own"


def _turned(config: EvalConfig, entry: MaskEntry) -> list[float]:
    """The sparsities at which a mask's worst heads are kept: Inverse, of the first mask only, and
    the reasoning-heads experiment."""
    inverse = "inverse" in config.methods and entry is config.masks[0]
    top = "learned" in config.methods and config.top
    return sorted({*(config.sparsities if inverse else ()), *(TOP_SPARSITIES if top else ())})


def _left_out(sparsities: Iterable[float]) -> str:
    return f"tied at sparsity {', '.join(f'{s:.4g}' for s in sparsities)}: not measured there"
