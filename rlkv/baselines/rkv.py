"""R-KV: important tokens that say something new (Cai et al. 2025, arXiv 2505.24133).

Z = lambda * I - (1 - lambda) * R for every token of a head, and the highest Z stay:

- I, importance: the weights of the latest 8 queries after the (causal) softmax, of the query heads
  of the group the greatest, max-pooled over 7 neighbours in the order of the text, mean over the
  queries.
- R, redundancy: cosines between keys; for each token the latest of those more similar than 0.5
  does not count as redundant because of it; mean over the tokens, softmax.

The latest 8 tokens always stay. Tokens go in blocks, so that the scores need not be computed at
every step: when a head has as many tokens as it may, a block of them goes.
"""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool1d, normalize

from rlkv.baselines.dropping import (
    BLOCK_NUMBERS,
    DroppingCache,
    DroppingLayer,
    StateBytes,
    best_columns,
    gathered,
)
from rlkv.baselines.occupancy import Pass
from rlkv.baselines.weights import scores, softmax
from rlkv.cache_layer import Store
from rlkv.grouped import ScoreRule, grouped_attention
from rlkv.layout import Layer

OBSERVED = 8
"""Latest queries that decide what is important, and latest tokens that always stay."""
NEIGHBOURS = 7
"""Tokens that share the greatest importance among them, each in the middle of its own."""
SIMILAR = 0.5
"""Cosine from which two keys are similar."""
LAMBDA = 0.1
"""Weight of importance against redundancy."""
SHARE, EVERY = 32, 128
"""A block is this part of the budget, and never more tokens than the authors' 128: scoring costs
the square of the budget, and a large block leaves memory unused that the mask would use."""


def block(budget: int) -> int:
    """Tokens that go at once when a head with this budget is full."""
    return max(1, min(EVERY, budget // SHARE))


class RKVLayer(DroppingLayer):
    """One layer: tokens in the order of the text, and the latest queries."""

    @staticmethod
    def state_bytes(layer: Layer, itemsize: int) -> StateBytes:
        """The latest queries of all query heads of the group; the order needs no positions."""
        return StateBytes(token=0, head=OBSERVED * layer.group * layer.head_dim * itemsize)

    @staticmethod
    def keeps(total: int, budget: int) -> int:
        """One slot stays free for the next token, which must be stored to be attended to."""
        return total if total < budget else budget - block(budget)

    def reset(self) -> None:
        super().reset()
        self.queries = Store()  # [1, B, kv_heads, OBSERVED, G * D]

    @property
    def of_heads(self) -> list[Store]:
        return [self.queries]

    def _decode(
        self, query: torch.Tensor, new: torch.Tensor, step: Pass, rule: ScoreRule
    ) -> torch.Tensor:
        self.kv.reserve(step.columns, new, max(step.budget))
        held = self.kv.first(step.columns)
        visible = None
        if step.even:
            held.narrow(3, step.before[0], 1).copy_(new)
        else:
            rows = torch.arange(len(step.before), device=new.device)
            held[:, rows, :, step.befores] = new[:, :, :, 0].transpose(0, 1)
            visible = step.filled[:, None, None]
        key, value = held.unbind()
        out = grouped_attention(query, key, value, visible, rule)
        self._observe(query)
        if step.evicting:
            rows = torch.tensor(step.evicting, device=new.device)
            kept = self._kept(held.index_select(1, rows), rows, query.shape[2], step, rule)
            self.kv.first(kept.shape[3]).index_copy_(1, rows, kept)
        return out

    def _read(
        self, query: torch.Tensor, joined: torch.Tensor, step: Pass, rule: ScoreRule
    ) -> torch.Tensor:
        key, value = joined.unbind()
        self._observe(query)
        rows = torch.arange(len(query), device=query.device)
        self.kv.data = joined
        if step.evicting:
            self.kv.data = self._kept(joined, rows, query.shape[2], step, rule)
        length = query.shape[3]
        if step.even:
            return grouped_attention(query, key, value, None, rule)
        size = max(1, BLOCK_NUMBERS // (len(query) * step.columns))
        outs = []
        for begin in range(0, length, size):
            end = min(begin + size, length)
            visible = step.visible(begin, end)
            outs.append(grouped_attention(query[:, :, :, begin:end], key, value, visible, rule))
        return torch.cat(outs, dim=3)

    def _observe(self, query: torch.Tensor) -> None:
        """Keeps the latest queries; that of column c lies in slot c modulo `OBSERVED`."""
        latest = query[:, :, :, -OBSERVED:].transpose(2, 3).flatten(3)[None]
        self.queries.reserve(OBSERVED, latest, OBSERVED)
        assert self.queries.data is not None
        first = self.seen - latest.shape[3]
        column = torch.arange(first, self.seen, device=query.device)
        self.queries.data.index_copy_(3, column % OBSERVED, latest)

    def _kept(
        self, held: torch.Tensor, rows: torch.Tensor, group: int, step: Pass, rule: ScoreRule
    ) -> torch.Tensor:
        """What stays of `[2, R, kv_heads, K, D]`, the tokens of some rows."""
        totals, counts = step.totals[rows], step.afters[rows]
        observed = torch.minimum(counts, step.lengths[rows]).clamp(max=OBSERVED)
        column = torch.arange(held.shape[3], device=held.device)
        filled = (column < totals[:, None])[:, None]  # [R, 1, K]
        queries = self._latest(rows, group)
        found = LAMBDA * importance(queries, held[0], totals, observed, rule)
        found -= (1 - LAMBDA) * redundancy(held[0], filled)
        found.masked_fill_((column >= (totals - observed)[:, None])[:, None], float("inf"))
        found.masked_fill_(~filled, float("-inf"))
        return gathered(held, best_columns(found, counts, max(1, int(counts.max()))))

    def _latest(self, rows: torch.Tensor, group: int) -> torch.Tensor:
        """The latest queries of some rows, newest first, `[R, kv_heads, G, OBSERVED, D]`."""
        assert self.queries.data is not None
        age = torch.arange(OBSERVED, device=rows.device)
        found = self.queries.data[0].index_select(0, rows)
        found = found.index_select(2, (self.seen - 1 - age) % OBSERVED)
        return found.view(*found.shape[:3], group, -1).transpose(2, 3)


def importance(
    queries: torch.Tensor,
    key: torch.Tensor,
    totals: torch.Tensor,
    observed: torch.Tensor,
    rule: ScoreRule,
) -> torch.Tensor:
    """Importance of tokens to the latest queries, float32 `[R, kv_heads, K]`.

    Args:
        queries: `[R, kv_heads, G, OBSERVED, D]`, newest first: the query of age a belongs to the
            token in column `total - 1 - a`.
        key: `[R, kv_heads, K, D]` in the order of the text.
        totals: tokens of each row, `[R]`.
        observed: how many of the queries count, `[R]`.
    """
    age = torch.arange(queries.shape[3], device=key.device)
    column = torch.arange(key.shape[2], device=key.device)
    seen = column < (totals[:, None] - age)[..., None]  # [R, OBSERVED, K]
    weights = softmax(scores(queries, key, rule), seen[:, None, None], rule).amax(2)
    pooled = max_pool1d(weights.flatten(1, 2), NEIGHBOURS, stride=1, padding=NEIGHBOURS // 2)
    counted = (age < observed[:, None])[:, None, :, None]
    pooled = pooled.view_as(weights) * (counted & seen.any(-1)[:, None, :, None])
    return pooled.sum(2) / observed[:, None, None]


def redundancy(key: torch.Tensor, filled: torch.Tensor) -> torch.Tensor:
    """How much a token's key repeats others, float32 `[R, kv_heads, K]`, a softmax over tokens.

    Args:
        key: `[R, kv_heads, K, D]` in the order of the text.
        filled: columns that hold a token, bool `[R, 1, K]`.
    """
    unit = normalize(key.float(), dim=-1) * filled[..., None]
    rows, heads, tokens, _ = key.shape
    column = torch.arange(tokens, device=key.device)
    total = unit.new_zeros(rows, heads, tokens)
    size = max(1, BLOCK_NUMBERS // (rows * heads * tokens))
    for part in torch.split(column, size):
        cosine = unit.index_select(2, part) @ unit.transpose(-1, -2)
        cosine.masked_fill_(part[:, None] == column, 0.0)
        latest = torch.where(cosine > SIMILAR, column, -1).amax(-1, keepdim=True)
        total += cosine.masked_fill_(column == latest, 0.0).sum(2)
    mean = total / filled.sum(-1, keepdim=True).clamp(min=1)
    return mean.masked_fill(~filled, float("-inf")).softmax(-1)


class RKVCache(DroppingCache):
    """R-KV's cache with true positions, at the bytes of a mask.

    Every head pays for its latest 8 queries, so that

        tokens(n) = floor((bytes(n) - heads * 8 * group * head_dim * itemsize)
                          / (heads * 2 * head_dim * itemsize))
    """

    layer_class = RKVLayer
