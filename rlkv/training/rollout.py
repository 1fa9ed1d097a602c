"""Rollouts: answers drawn in batches that shrink as rows end.

A problem's prompt is read once for all of its samples. A row that has ended or got stuck leaves
the batch instead of being fed padding until the longest one is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from rlkv.generation import PREFILL_CHUNK, is_repetitive

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


@torch.no_grad()
def rollouts(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    draw: Draw,
    ends: set[int],
    new_cache: Callable[[], Cache],
    rows_at_once: int = 0,
) -> list[Rollout]:
    """One answer for each prompt's token ids, in order; draws from torch's global generator.

    Args:
        prompts: equal neighbours are read once.
        new_cache: decides under what the answers are drawn: a `WholeCache` for attached gates,
            a `SplitHeadCache` for a mask.
        rows_at_once: rows in one batch, 0 for all.
    """
    size = rows_at_once or len(prompts)
    done: list[Rollout] = []
    for at in range(0, len(prompts), size):
        batch = _Batch(model, prompts[at : at + size], draw, ends, new_cache())
        done += batch.run()
    return done


class _Batch:
    """Rows that are drawn together."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[list[int]],
        draw: Draw,
        ends: set[int],
        cache: Cache,
    ) -> None:
        self.model, self.draw, self.ends, self.cache = model, draw, ends, cache
        self.prompts = prompts
        self.rollouts = [Rollout() for _ in prompts]
        self.rows = list(range(len(prompts)))  # which rollout each row of the cache is

    def run(self) -> list[Rollout]:
        logits = self._read()
        for left in reversed(range(self.draw.max_new_tokens)):
            tokens = self._append(logits)
            tokens = self._compacted(tokens)
            if not self.rows or not left:
                break
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
        out = self.model(
            input_ids=tokens,
            attention_mask=real if self.padded else None,
            position_ids=positions,
            past_key_values=self.cache,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _append(self, logits: torch.Tensor) -> torch.Tensor:
        """Draws a token for every row that still runs; returns them all, `[B]`."""
        tokens, logprobs = drawn(logits, self.draw)
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
        return tokens

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


def drawn(logits: torch.Tensor, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens `[B]` drawn from `[B, vocabulary]` logits, and their log-probabilities `[B]`.

    The log-probabilities are those of the whole distribution, as the loss computes them, also
    where top-p or top-k cut it for drawing.
    """
    if draw.temperature == 0:
        logprobs = logits.log_softmax(-1)
        tokens = logits.argmax(-1)
    else:
        logprobs = (logits / draw.temperature).log_softmax(-1)
        tokens = torch.multinomial(_cut(logprobs.exp(), draw), 1)[:, 0]
    return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]


def _cut(probabilities: torch.Tensor, draw: Draw) -> torch.Tensor:
    if 0 < draw.top_k < probabilities.shape[-1]:
        least = probabilities.topk(draw.top_k, dim=-1).values[:, -1:]
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    if draw.top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        ordered = ordered / ordered.sum(-1, keepdim=True)
        outside = ordered.cumsum(-1) - ordered >= draw.top_p
        probabilities = probabilities.scatter(-1, order, ordered.masked_fill(outside, 0.0))
    return probabilities
