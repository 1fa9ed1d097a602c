"""Where heads look: attention mass on sinks, the recent window and far tokens, and by distance.

*Far* tokens of a query are those that a compressed head could not see: neither sinks nor in the
recent window (`rlkv.streaming.StreamingWindow`). Masses are of the untouched model; knows nothing
of masks. Learned sink logits (gpt-oss) count as sinks: weight that reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rlkv.errors import UserError
from rlkv.explore.watching import Attention, observe, require_head
from rlkv.layout import layout_of
from rlkv.streaming import StreamingWindow

Table = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Looks:
    """Where all KV heads of a model look on one text; each is the mean of its query heads."""

    sink: Table
    """Mean attention mass on sink tokens, `[layers, kv_heads]`, over queries with far tokens.
    `sink + recent + far` is 1."""
    recent: Table
    """The same on the recent window."""
    far: Table
    """The same on all tokens between."""
    by_distance: Table
    """Mean mass by distance from the query, `[layers, kv_heads, bins]`, over all queries. Sums to
    1 over the bins, or to less where learned sink logits take the rest."""
    edges: tuple[int, ...]
    """Bin b holds distances from `edges[b]` up to, not including, `edges[b + 1]`."""
    tokens: int
    """Tokens of the text."""


@dataclass(frozen=True)
class FarToken:
    """A token that a head looks at from afar."""

    position: int
    mass: float
    """Mean attention on it over the queries for which it is far."""
    query: int
    """Position of the query that looks at it most, among those."""


def looks(model: PreTrainedModel, ids: Sequence[int], window: StreamingWindow) -> Looks:
    """Where all heads look, in one pass over one text.

    Raises:
        UserError: if no query of the text has far tokens, or the text is too long.
    """
    needed = window.sink + window.recent + 1
    if len(ids) < needed:
        raise UserError(
            f"The text has {len(ids)} tokens but needs at least {needed} for a token to be far "
            f"(sink {window.sink}, recent {window.recent}): write more."
        )
    edges = distance_edges(len(ids))
    layers, kv_heads = layout_of(model).shape
    masses = torch.zeros(layers, kv_heads, 3, device=model.device)
    distances = torch.zeros(layers, kv_heads, len(edges) - 1, device=model.device)

    def see(row: int, attention: Attention) -> None:
        for queries, weights in attention.blocks():
            block = _Block.of(queries, weights.mean(1))
            masses[row] += block.masses(window)
            distances[row] += block.distances(edges)

    observe(model, ids, see)
    sink, recent, far = (masses / (len(ids) - needed + 1)).cpu().numpy().transpose(2, 0, 1).copy()
    by_distance = (distances / len(ids)).cpu().numpy()
    return Looks(sink, recent, far, by_distance, edges, len(ids))


def mean_looks(several: Sequence[Looks]) -> Looks:
    """The mean over texts, each counting the same; `tokens` is their sum."""
    longest = max((one.edges for one in several), key=len)
    by_distance = np.zeros((*several[0].far.shape, len(longest) - 1), dtype=np.float32)
    for one in several:
        by_distance[:, :, : one.by_distance.shape[2]] += one.by_distance / len(several)

    def mean(tables: list[Table]) -> Table:
        return np.mean(tables, axis=0, dtype=np.float32)

    return Looks(
        sink=mean([one.sink for one in several]),
        recent=mean([one.recent for one in several]),
        far=mean([one.far for one in several]),
        by_distance=by_distance,
        edges=longest,
        tokens=sum(one.tokens for one in several),
    )


def pattern(model: PreTrainedModel, ids: Sequence[int], layer: int, head: int) -> Table:
    """Attention weights `[G, T, T]` (query, key) of the query heads of one KV head.

    Rows sum to 1, or to less in layers with learned sink logits.

    Raises:
        UserError: if there is no such head, or the text is too long for the model.
    """
    require_head(model, layer, head)
    found: list[torch.Tensor] = []

    def see(row: int, attention: Attention) -> None:
        if row == layer:
            found.extend(weights[0] for _, weights in attention.of_head(head).blocks())

    observe(model, ids, see, last_row=layer)
    return torch.cat(found, dim=1).cpu().numpy()


def far_tokens(pattern: Table, window: StreamingWindow, top: int = 12) -> list[FarToken]:
    """The tokens that one head looks at most among far ones, the most first.

    Args:
        pattern: `[G, T, T]`, as from `pattern`.
    """
    weights = pattern.mean(0)
    far = far_of(len(weights), window)
    weights = np.where(far, weights, 0.0)
    mass = weights.sum(0) / np.maximum(far.sum(0), 1)
    order = np.argsort(-mass, kind="stable")[: max(top, 0)]
    return [
        FarToken(int(j), float(mass[j]), int(weights[:, j].argmax())) for j in order if mass[j] > 0
    ]


def far_share(row: Table, query: int, window: StreamingWindow) -> float:
    """Attention mass of one query's row `[T]` on tokens that are far from it."""
    return float(row[window.sink : max(window.sink, query - window.recent + 1)].sum())


def far_of(tokens: int, window: StreamingWindow) -> NDArray[np.bool_]:
    """Which keys are far for which queries, bool `[T, T]` (query, key)."""
    position = np.arange(tokens)
    far: NDArray[np.bool_] = position >= window.sink
    return far & (position[:, None] - position >= window.recent)


def distance_edges(tokens: int) -> tuple[int, ...]:
    """Bins of distance 0, 1, 2-3, 4-7 and so on that hold every distance in a text."""
    edges = [0, 1]
    while edges[-1] < tokens:
        edges.append(2 * edges[-1])
    return tuple(edges)


@dataclass(frozen=True)
class _Block:
    """Attention of some neighbouring queries."""

    query: torch.Tensor  # [Q] positions
    before: torch.Tensor  # [kv_heads, Q, T + 1]: mass on keys before a position

    @classmethod
    def of(cls, query: torch.Tensor, weights: torch.Tensor) -> _Block:
        """Of queries at positions `[Q]` with weights `[kv_heads, Q, T]`."""
        return cls(query, torch.nn.functional.pad(weights.cumsum(-1), (1, 0)))

    def masses(self, window: StreamingWindow) -> torch.Tensor:
        """Summed mass on sinks, recent window and far tokens, `[kv_heads, 3]`."""
        has_far = self.query >= window.sink + window.recent
        query, before = self.query[has_far], self.before[:, has_far]
        sink = before[:, :, window.sink]
        near = _at(before, (query - window.recent + 1)[:, None])[:, :, 0]
        recent = before[:, :, -1] - near
        learned = 1.0 - before[:, :, -1]  # taken by learned sink logits
        parts = torch.stack([sink + learned, recent, near - sink], dim=-1)
        return parts.sum(1).clamp(min=0.0)

    def distances(self, edges: Sequence[int]) -> torch.Tensor:
        """Summed mass by distance, `[kv_heads, bins]`."""
        edge = torch.tensor(edges, device=self.query.device)
        nearer = _at(self.before, (self.query[:, None] - edge + 1).clamp(min=0))
        return (nearer[:, :, :-1] - nearer[:, :, 1:]).sum(1).clamp(min=0.0)


def _at(before: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Values `[kv_heads, Q, n]` of `before` at positions `[Q, n]` of each query."""
    return before.gather(2, index.expand(len(before), -1, -1))
