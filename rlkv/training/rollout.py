"""Rollouts: answers drawn in batches that shrink as rows end.

A problem's prompt is read once for all of its samples. A row that has ended or got stuck leaves
the batch instead of being fed padding until the longest one is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol, runtime_checkable

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from rlkv.errors import UserError
from rlkv.explore.stopping import Stop, check, never
from rlkv.feeding import feed
from rlkv.generation import COLDEST, PREFILL_CHUNK, is_repetitive, likeliest

COMPACT_BELOW = 0.75
"""Ended rows are removed when fewer than this share of the batch still runs: removing copies."""


@dataclass(frozen=True)
class Draw:
    """How tokens of a rollout are drawn. Temperature 0 is greedy."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass
class Rollout:
    """One drawn answer."""

    ids: list[int] = field(default_factory=list)
    """Token ids, the end token included."""
    logprobs: list[float] = field(default_factory=list)
    """Of each token among all tokens, at the temperature it was drawn at (nats)."""
    stop_reason: str = "length"
    """ "end", "length" or "repetition"."""
    length: int = 0
    """Tokens of this row in the cache when it ended."""
    kv_bytes: int = 0
    """Bytes of the cache's slots that it filled when it ended, whatever batch it was drawn in; 0
    where the cache is only a means (`WholeCache`)."""


@runtime_checkable
class RowBytes(Protocol):
    """A cache that tells what a row of it holds."""

    def row_bytes(self, row: int, tokens: int) -> int:
        """Bytes of what one row holds of its `tokens`."""
        ...


Ended = Callable[[int, Rollout], None]
"""Told of each answer the moment it ends: which prompt's it is, and the answer."""


@torch.no_grad()
def rollouts(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    draw: Draw,
    ends: set[int],
    new_cache: Callable[[], Cache],
    rows_at_once: int = 0,
    *,
    seeds: Sequence[int] | None = None,
    ended: Ended | None = None,
    stop: Stop = never,
) -> list[Rollout]:
    """One answer for each prompt's token ids, in order.

    Args:
        prompts: equal neighbours are read once.
        new_cache: decides under what the answers are drawn: a `WholeCache` for attached gates,
            a `SplitHeadCache` for a mask.
        rows_at_once: rows in one batch, 0 for all.
        seeds: one for each answer, which then does not depend on the others of its batch; None
            draws from torch's global generator.

    Raises:
        Stopped: if `stop()` says so, asked before every token.
    """
    size = rows_at_once or len(prompts)
    done: list[Rollout] = []
    for at in range(0, len(prompts), size):
        part = slice(at, at + size)
        numbers = None if seeds is None else Numbers(seeds[part])
        batch = _Batch(model, prompts[part], draw, ends, new_cache(), numbers)
        batch.ended = None if ended is None else _from(at, ended)
        batch.stop = stop
        done += batch.run()
    return done


def _from(first: int, ended: Ended) -> Ended:
    return lambda row, rollout: ended(first + row, rollout)


class Numbers:
    """Random numbers of several answers, each with a generator of its own."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def next(self, rows: Sequence[int]) -> torch.Tensor:
        """The next number of each of the given rows, in [0, 1), `[B]`."""
        drawn = [torch.rand(1, generator=self._generators[row]) for row in rows]
        return torch.cat(drawn)


class _Batch:
    """Rows that are drawn together."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[list[int]],
        draw: Draw,
        ends: set[int],
        cache: Cache,
        numbers: Numbers | None = None,
    ) -> None:
        self.model, self.draw, self.ends, self.cache = model, draw, ends, cache
        self.numbers = numbers
        self.ended: Ended | None = None
        self.stop: Stop = never
        self.prompts = prompts
        self.rollouts = [Rollout() for _ in prompts]
        self.rows = list(range(len(prompts)))  # which rollout each row of the cache is

    def run(self) -> list[Rollout]:
        logits = self._read()
        for left in reversed(range(self.draw.max_new_tokens)):
            tokens = self._append(logits, last=not left)
            tokens = self._compacted(tokens)
            if not self.rows or not left:
                break
            check(self.stop)
            logits = self._forward(tokens[:, None])
        return self.rollouts

    def _read(self) -> torch.Tensor:
        """Reads every different prompt once; logits `[B, vocabulary]` of all rows."""
        groups = [(ids, len(list(same))) for ids, same in groupby(self.prompts)]
        longest = max(len(ids) for ids, _ in groups)
        device = self.model.device
        tokens = torch.zeros(len(groups), longest, dtype=torch.long)
        real = torch.zeros(len(groups), longest, dtype=torch.long)
        for row, (ids, _) in enumerate(groups):
            tokens[row, longest - len(ids) :] = torch.tensor(ids)
            real[row, longest - len(ids) :] = 1
        self.real = real.to(device)
        self.padded = bool((real == 0).any())
        at = 0
        for part in torch.split(tokens.to(device), PREFILL_CHUNK, dim=1):
            at += part.shape[1]
            logits = self._pass(part, self.real[:, :at])
        repeats = torch.tensor([n for _, n in groups], device=device)
        index = torch.arange(len(groups), device=device).repeat_interleave(repeats)
        if len(index) != len(groups):
            self.cache.batch_select_indices(index)
        self.real = self.real[index]
        return logits[index]

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.real = torch.cat([self.real, self.real.new_ones(len(tokens), 1)], dim=1)
        return self._pass(tokens, self.real)

    def _pass(self, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        # Positions count real tokens: models with learned positions care.
        positions = (real.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        out = feed(
            self.model,
            self.cache,
            input_ids=tokens,
            attention_mask=real if self.padded else None,
            position_ids=positions,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _append(self, logits: torch.Tensor, last: bool) -> torch.Tensor:
        """Draws a token for every row that still runs; returns them all, `[B]`.

        `last` ends all of them.
        """
        numbers = None if self.numbers is None else self.numbers.next(self.rows)
        tokens, logprobs = drawn(logits, self.draw, numbers)
        for row, (token, logprob) in enumerate(
            zip(tokens.tolist(), logprobs.tolist(), strict=True)
        ):
            rollout = self.rollouts[self.rows[row]]
            if rollout.stop_reason != "length":
                continue
            rollout.ids.append(token)
            rollout.logprobs.append(logprob)
            if token in self.ends:
                rollout.stop_reason = "end"
            elif is_repetitive(rollout.ids):
                rollout.stop_reason = "repetition"
            if last or rollout.stop_reason != "length":
                self._end(row)
        return tokens

    def _end(self, place: int) -> None:
        """The answer in row `place` of the cache has ended."""
        row = self.rows[place]
        rollout = self.rollouts[row]
        rollout.length = len(self.prompts[row]) + len(rollout.ids) - 1  # the last is not fed
        if isinstance(self.cache, RowBytes):
            rollout.kv_bytes = self.cache.row_bytes(place, rollout.length)
        if self.ended is not None:
            self.ended(row, rollout)

    def _compacted(self, tokens: torch.Tensor) -> torch.Tensor:
        """Removes ended rows from the cache where that pays; the tokens of those that are left."""
        running = [
            i for i, row in enumerate(self.rows) if self.rollouts[row].stop_reason == "length"
        ]
        if running and len(running) > COMPACT_BELOW * len(self.rows):
            return tokens
        self.rows = [self.rows[i] for i in running]
        index = torch.tensor(running, dtype=torch.long, device=tokens.device)
        if running:
            self.cache.batch_select_indices(index)
            self.real = self.real[index]
        return tokens[index]


def drawn(
    logits: torch.Tensor, draw: Draw, numbers: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens `[B]` drawn from `[B, vocabulary]` logits, and their log-probabilities `[B]`.

    The log-probabilities are those of the whole distribution, as the loss computes them, also
    where top-p or top-k cut it for drawing. `numbers` `[B]` in [0, 1) decide what is drawn; None
    asks torch's global generator.

    Raises:
        UserError: if a row's scores hold a NaN or an infinity.
    """
    if not torch.isfinite(logits.amax(-1)).all():  # before a GPU aborts drawing from them
        raise UserError(
            "The model's scores are not finite numbers, so no token can be chosen. Start a new job "
            "with the number format float32."
        )
    if draw.temperature == 0:
        logprobs = logits.log_softmax(-1)
        tokens = logits.argmax(-1)
    else:
        logprobs = (logits / max(draw.temperature, COLDEST)).log_softmax(-1)
        chances = _cut(logprobs.exp(), draw)
        tokens = _at(chances, numbers) if numbers is not None else _by_chance(chances)
    return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]


def _by_chance(chances: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(chances, 1)[:, 0]


def _at(chances: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The tokens whose stretch of the cumulated `chances` `[B, vocabulary]` holds `numbers`."""
    reached = chances.double().cumsum(-1)
    wanted = numbers.to(reached.device, reached.dtype)[:, None] * reached[:, -1:]
    # To the right of what is reached, so that a token without a chance is never met.
    found = torch.searchsorted(reached, wanted, right=True)[:, 0]
    return found.clamp(max=chances.shape[-1] - 1)


def _cut(probabilities: torch.Tensor, draw: Draw) -> torch.Tensor:
    if 0 < draw.top_k < probabilities.shape[-1]:
        least = probabilities.topk(draw.top_k, dim=-1).values[:, -1:]
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    return likeliest(probabilities, draw.top_p)
