"""H2O: heavy hitters and the latest tokens (Zhang et al. 2023, arXiv 2306.14048).

A token's score is the attention that it got so far, after the softmax, summed over queries and
over the query heads of the group. After each step (a chunk of a prompt is one step) a head is cut
down to its budget b: the latest b - b // 2 tokens stay, and of the others those with the highest
scores. Scores are causal: within a prompt no token gets attention from tokens before it.
"""

from __future__ import annotations

import torch

from rlkv.baselines.dropping import (
    BLOCK_NUMBERS,
    DroppingCache,
    DroppingLayer,
    StateBytes,
    best_columns,
    gathered,
)
from rlkv.baselines.occupancy import Pass
from rlkv.baselines.weights import scores, softmax, summed
from rlkv.cache_layer import Store
from rlkv.grouped import ScoreRule
from rlkv.layout import Layer


class H2OLayer(DroppingLayer):
    """One layer: slots in any order, with the score and the position of each."""

    @staticmethod
    def state_bytes(layer: Layer, itemsize: int) -> StateBytes:
        """A float32 score and an int32 position for each token."""
        return StateBytes(token=4 + 4, head=0)

    @staticmethod
    def keeps(total: int, budget: int) -> int:
        return min(total, budget)

    def reset(self) -> None:
        super().reset()
        self.score = Store()  # float32 [1, B, kv_heads, slots, 1]
        self.position = Store()  # int32, likewise

    @property
    def of_tokens(self) -> list[Store]:
        return [self.kv, self.score, self.position]

    def _decode(
        self, query: torch.Tensor, new: torch.Tensor, step: Pass, rule: ScoreRule
    ) -> torch.Tensor:
        # The new token is attended to before it is stored, so that no slot is kept free for it.
        self._reserve(new, step)
        slots = max(step.before)
        held = self.kv.first(slots)
        found = torch.cat([scores(query, x[0], rule) for x in (held, new)], dim=-1)
        filled = None
        if not step.even:
            column = torch.arange(slots + 1, device=new.device)
            filled = (column < step.befores[:, None]) | (column == slots)
            filled = filled[:, None, None, None]
        weights = softmax(found, filled, rule)
        out = summed(weights[..., :slots], held[1]) + summed(weights[..., slots:], new[1])
        got = weights.sum((2, 3))
        self.score.first(slots)[0, ..., 0].add_(got[..., :slots])
        slot = self._slot(step, slots)
        self._write(self.kv, slot, new)
        self._write(self.score, slot, got[None, ..., slots:, None])
        latest = (step.lengths - 1).int()[None, :, None, None, None]
        self._write(self.position, slot, latest.expand(1, -1, new.shape[2], 1, 1))
        return out

    def _slot(self, step: Pass, slots: int) -> torch.Tensor | int:
        """Where the new token goes, `[B, kv_heads]`: the next free slot or the loser's."""
        if not step.evicting:
            return step.before[0] if step.even else step.befores[:, None].expand(-1, self._heads)
        position = self.position.first(slots)[0, ..., 0]
        safe = position >= _first_safe(step)[:, None, None]
        if not step.even:
            column = torch.arange(slots, device=safe.device)
            safe = safe | (column >= step.befores[:, None])[:, None]
        score = self.score.first(slots)[0, ..., 0]
        loser = score.masked_fill(safe, float("inf")).argmin(-1)
        if len(step.evicting) == len(step.total):
            return loser
        free = (step.afters == step.totals)[:, None]
        return torch.where(free, step.befores[:, None], loser)

    @property
    def _heads(self) -> int:
        assert self.kv.data is not None
        return self.kv.data.shape[2]

    def _reserve(self, new: torch.Tensor, step: Pass) -> None:
        tokens, limit = max(step.after), max(step.budget)
        numbers = new[:1, ..., :1]
        self.kv.reserve(tokens, new, limit)
        self.score.reserve(tokens, numbers.float(), limit)
        self.position.reserve(tokens, numbers.int(), limit)

    @staticmethod
    def _write(store: Store, slot: torch.Tensor | int, new: torch.Tensor) -> None:
        assert store.data is not None
        if isinstance(slot, int):
            store.data.narrow(3, slot, 1).copy_(new)
        else:
            index = slot[None, :, :, None, None]
            store.data.scatter_(3, index.expand(len(new), -1, -1, 1, new.shape[4]), new)

    def _read(
        self, query: torch.Tensor, joined: torch.Tensor, step: Pass, rule: ScoreRule
    ) -> torch.Tensor:
        key, value = joined.unbind()
        batch, heads, group, length, _ = query.shape
        got = joined.new_zeros(batch, heads, step.columns, dtype=torch.float32)
        size = max(1, BLOCK_NUMBERS // (batch * heads * group * step.columns))
        outs = []
        for begin in range(0, length, size):
            end = min(begin + size, length)
            found = scores(query[:, :, :, begin:end], key, rule)
            weights = softmax(found, step.visible(begin, end)[:, :, None], rule)
            outs.append(summed(weights, value))
            real = torch.arange(begin, end, device=key.device) >= step.paddings[:, None]
            got += (weights * real[:, None, None, :, None]).sum((2, 3))
        self._keep(joined, got, step)
        return torch.cat(outs, dim=3)

    def _keep(self, joined: torch.Tensor, got: torch.Tensor, step: Pass) -> None:
        """Adds what the tokens got to their scores, and stores those that stay."""
        score, position = got, _positions(step, got.shape[1])
        slots = max(step.before)
        if slots:
            column = torch.arange(slots, device=got.device)
            old = (column < step.befores[:, None])[:, None]
            score[..., :slots] += self.score.first(slots)[0, ..., 0] * old
            earlier = self.position.first(slots)[0, ..., 0]
            position[..., :slots] = torch.where(old, earlier, position[..., :slots])
        priority = score.masked_fill(position >= _first_safe(step)[:, None, None], float("inf"))
        priority = priority.masked_fill(~step.filled[:, None], float("-inf"))
        columns = best_columns(priority, step.afters, max(1, *step.after))
        self.kv.data = gathered(joined, columns)
        self.score.data = gathered(score[None, ..., None], columns)
        self.position.data = gathered(position[None, ..., None], columns)


def _positions(step: Pass, heads: int) -> torch.Tensor:
    """int32 `[B, heads, columns]`, right for the new tokens."""
    column = torch.arange(step.columns, device=step.device)
    position = column + (step.lengths - step.totals)[:, None]
    return position.int()[:, None].repeat(1, heads, 1)


def _first_safe(step: Pass) -> torch.Tensor:
    """Position from which on tokens are the latest and stay, `[B]`."""
    recent = torch.tensor([b - b // 2 for b in step.budget], device=step.device)
    return step.lengths - recent


class H2OCache(DroppingCache):
    """H2O's cache with true positions and causal scores, at the bytes of a mask.

    Every token costs its key, its value and 8 bytes (score and position), so that

        tokens(n) = floor(bytes(n) / (heads * (2 * head_dim * itemsize + 8)))
    """

    layer_class = H2OLayer
