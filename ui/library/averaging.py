"""One mask out of several seeds: the mean of their ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlkv.errors import UserError
from rlkv.masks import HeadMask

AVERAGED = "averaged"
"""In a mask's notes: name and key of each mask that it is the average of."""
MOST = 32
SHARED = ("task", "head_dim", "itemsize", "query_heads", "layer_ids")
"""Notes that are kept where all masks say the same."""


def average(found: Sequence[tuple[str, HeadMask]]) -> HeadMask:
    """The average of masks given with their keys.

    A head's score is 1 - (its mean rank) / (N - 1). Ranks, because the scores of two trainings need
    not be on one scale, while a rank is what decides whether a head is kept. As many heads are kept
    as the masks keep on average. The gates in the notes are the mean gates.

    Raises:
        UserError: unless there are at least two, of one model, shape and window.
    """
    if not 2 <= len({key for key, _ in found}) == len(found) <= MOST:
        raise UserError(f"Choose 2 to {MOST} different masks to average.")
    masks = [mask for _, mask in found]
    first = masks[0]
    for mask in masks[1:]:
        if (mask.model, mask.shape) != (first.model, first.shape):
            raise UserError(
                "Only masks of one model can be averaged: these are for "
                f"{_of(first)} and {_of(mask)}."
            )
        if (mask.sink, mask.recent) != (first.sink, first.recent):
            raise UserError(
                f"These masks have different windows, {first.sink} + {first.recent} and "
                f"{mask.sink} + {mask.recent} tokens: average masks of one window."
            )
    ranks = np.mean([mask.ranks() for mask in masks], axis=0)
    scores = 1.0 - ranks / max(1, first.scores.size - 1)
    kept = round(float(np.mean([mask.n_kept for mask in masks])))
    info = {
        AVERAGED: [{"name": mask.name, "key": key} for key, mask in found],
        "average_of": "ranks",
        "gates": np.round(np.mean([mask.gates for mask in masks], axis=0), 6).tolist(),
        **{
            name: first.info[name]
            for name in SHARED
            if name in first.info and all(m.info.get(name) == first.info[name] for m in masks)
        },
    }
    return HeadMask.from_scores(
        scores, sink=first.sink, recent=first.recent, model=first.model,
        revision=first.revision if len({m.revision for m in masks}) == 1 else "",
        name=f"Average of {len(masks)} masks", info=info,
    ).keep_best(kept)  # fmt: skip


def _of(mask: HeadMask) -> str:
    return f"{mask.model or 'an unknown model'} ({mask.layers} x {mask.kv_heads})"
