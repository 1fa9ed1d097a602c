"""One head on one text that a person wrote: its attention, and what of it is out of the window."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.errors import UserError
from rlkv.explore.answering import greedy
from rlkv.explore.looking import (
    FarToken,
    Table,
    distance_edges,
    far_of,
    far_tokens,
    pattern,
)
from rlkv.explore.pieces import pieces
from rlkv.generation import encode, end_tokens
from rlkv.layout import layout_of
from rlkv.masks import HeadMask
from rlkv.models import max_length
from rlkv.streaming import StreamingWindow


@dataclass(frozen=True, eq=False)
class OneHead:
    """Where one KV head looks."""

    pieces: tuple[str, ...]
    """Text of each token."""
    weights: Table
    """Attention `[G, T, T]` (query, key) of its query heads."""
    answer_from: int | None
    """Position of the first token that the model wrote itself; None if it wrote none."""
    masses: tuple[float, float, float]
    """Mean attention mass on sinks, recent window and far tokens, of the queries that have far
    tokens, of all queries if none has."""
    by_distance: tuple[float, ...]
    """Mean mass by distance from the query, over all queries."""
    edges: tuple[int, ...]
    """As `Looks.edges`."""
    far: tuple[FarToken, ...]
    """The far tokens that it looks at most, the most first."""


def read_text(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, longest: int
) -> list[int]:
    """Token ids of a text as it is.

    Raises:
        UserError: if it is empty, or has more than `longest` tokens.
    """
    ids = list(tokenizer(text)["input_ids"])
    limit = min(longest, max_length(model.config))
    if not ids:
        raise UserError("Write a text first.")
    if len(ids) > limit:
        raise UserError(f"The text has {len(ids)} tokens; at most {limit} are shown: shorten it.")
    return ids


def read_question(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    longest: int,
    max_new_tokens: int,
) -> tuple[list[int], int]:
    """Ids of a question in the chat template and of the untouched model's answer, and where the
    answer begins.

    Raises:
        UserError: if the question is empty, too long or has unknown characters.
    """
    limit = min(longest, max_length(model.config))
    ids = encode(tokenizer, question, limit)[0].tolist()
    room = max(1, min(max_new_tokens, limit - len(ids)))
    full = HeadMask.full(*layout_of(model).shape)
    answer = greedy(model, ids, full, max_new_tokens=room, ends=end_tokens(model, tokenizer))
    return [*ids, *answer], len(ids)


def one_head(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    cell: tuple[int, int],
    window: StreamingWindow,
    answer_from: int | None = None,
) -> OneHead:
    """Reads a text once, up to the layer of the head.

    Args:
        cell: layer (row of masks) and KV head.

    Raises:
        UserError: if there is no such head, or the text is too long.
    """
    weights = pattern(model, ids, *cell)
    mean = weights.mean(0)
    edges = distance_edges(len(ids))
    return OneHead(
        pieces=tuple(pieces(tokenizer, ids)),
        weights=weights,
        answer_from=answer_from,
        masses=_masses(mean, window),
        by_distance=_by_distance(mean, edges),
        edges=edges,
        far=tuple(far_tokens(weights, window)),
    )


def _masses(mean: Table, window: StreamingWindow) -> tuple[float, float, float]:
    """Of weights `[T, T]`. Learned sink logits count as sinks, like in `looks`."""
    far = far_of(len(mean), window)
    near = (np.arange(len(mean)) >= window.sink) & ~far
    chosen = far.any(1) if far.any() else np.ones(len(mean), dtype=bool)
    far_mass = float((mean * far)[chosen].sum(1).mean())
    recent_mass = float((mean * near)[chosen].sum(1).mean())
    return 1.0 - far_mass - recent_mass, recent_mass, far_mass


def _by_distance(mean: Table, edges: tuple[int, ...]) -> tuple[float, ...]:
    sums = [float(np.trace(mean, -distance)) for distance in range(len(mean))]
    return tuple(sum(sums[first:last]) / len(mean) for first, last in itertools.pairwise(edges))
