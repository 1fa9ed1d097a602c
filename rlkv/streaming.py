"""The streaming rule: what a compressed head sees, in training, prefill and decode alike."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlkv.grouped import QUERY_BLOCK, ScoreRule, grouped_attention

BLOCK = 256
"""Queries that share one slice of keys, at least; each reads up to that many keys in vain."""


@dataclass(frozen=True)
class StreamingWindow:
    """Key j is visible to query i iff j <= i and (j < sink or i - j < recent).

    Both are counted from the first real token of the row. `recent` includes the query itself.
    A sliding-window layer of a model is the same rule without sinks.
    """

    sink: int
    recent: int

    def visible(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """The rule on broadcastable tensors of positions; negative positions are padding."""
        near = (key < self.sink) | (query - key < self.recent)
        return (key >= 0) & (key <= query) & near


def streaming_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    window: StreamingWindow,
    starts: Sequence[int] | None,
    rule: ScoreRule,
    real: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of the last T of K tokens under the rule; cost and memory grow with T alone.

    Queries go in blocks. A block reads one slice of recent keys, and the sinks before it.

    Args:
        query: `[B, h, G, T, D]`; `key` and `value` are `[B, h, K, D]`.
        starts: column of each row's first real token; None if all rows start at column 0.
        real: bool `[B, 1, 1, K]`, False for padding, where some stands between a row's tokens.
            For windows without sinks: which token is the third is then not told by its column.
    """
    length, keys = query.shape[3], key.shape[2]
    size = min(max(BLOCK, window.recent), QUERY_BLOCK)
    outs = []
    for begin in range(0, length, size):
        end = min(begin + size, length)
        first, last = keys - length + begin, keys - length + end  # columns of the queries
        near = max(first - window.recent + 1, 0)  # the slice is near to last
        if starts is None:
            sinks = min(window.sink, near)
            sinks_in_slice = max(window.sink - near, 0)
            mask = _mask(window.recent, sinks_in_slice, first - near, last - near, sinks)
            mask = mask.to(query.device)
            k, v = (_unpadded(x, sinks, near, last) for x in (key, value))
        else:
            start = torch.tensor(starts, device=query.device)[:, None]
            sinks = window.sink if near else 0
            shown = None if real is None else real[:, 0, :, near:last]
            mask = _padded_mask(window, start, first, last, near, sinks, shown)
            k, v = (_padded(x, start, sinks, near, last) for x in (key, value))
        outs.append(grouped_attention(query[:, :, :, begin:end], k, v, mask, rule))
    return outs[0] if len(outs) == 1 else torch.cat(outs, dim=3)


def _unpadded(x: torch.Tensor, sinks: int, near: int, last: int) -> torch.Tensor:
    recent = x[:, :, near:last]
    return torch.cat([x[:, :, :sinks], recent], dim=2) if sinks else recent


@functools.lru_cache(maxsize=16)
def _mask(recent: int, sinks_in_slice: int, first: int, last: int, sinks: int) -> torch.Tensor:
    """bool `[1, 1, queries, sinks + slice]` without padding, columns counted from the slice's.

    Sinks before the slice are visible to all of it. The mask is the same for all inner blocks
    of a sequence and for all layers, so it is kept.
    """
    column = torch.arange(last)
    mask = StreamingWindow(sinks_in_slice, recent).visible(column[first:, None], column)
    return torch.cat([mask.new_ones(last - first, sinks), mask], dim=1)[None, None]


def _padded(x: torch.Tensor, start: torch.Tensor, sinks: int, near: int, last: int) -> torch.Tensor:
    """Sinks of each row, wherever it starts, before the slice; start is `[B, 1]`."""
    recent = x[:, :, near:last]
    if not sinks:
        return recent
    column = (start + torch.arange(sinks, device=x.device)).clamp(max=x.shape[2] - 1)
    index = column[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
    return torch.cat([x.gather(2, index), recent], dim=2)


def _padded_mask(
    window: StreamingWindow,
    start: torch.Tensor,
    first: int,
    last: int,
    near: int,
    sinks: int,
    shown: torch.Tensor | None,
) -> torch.Tensor:
    """bool `[B, 1, queries, sinks + slice]`; a sink inside the slice is not counted twice.

    `shown` is bool `[B, 1, slice]`, which of the slice are real tokens; None if all after start.
    """
    row = torch.arange(first, last, device=start.device)[:, None]
    column = torch.arange(near, last, device=start.device)
    begin = start[:, :, None]
    mask = window.visible(row - begin, column - begin)
    if shown is not None:
        mask = mask & shown
    # A padding query sees itself: an empty row of a softmax is NaN on some kernels.
    mask = mask | (column == row)
    if sinks:
        sink = begin + torch.arange(sinks, device=start.device)
        mask = torch.cat([(sink < near).expand(-1, len(row), -1), mask], dim=2)
    return mask[:, None]
