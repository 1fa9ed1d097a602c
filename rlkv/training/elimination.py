"""Elimination: the final ranking, found by taking heads away one by one under hard masks.

What a head is worth depends on which others are still there, and on being missing altogether
instead of being turned down. So heads are removed from the full model one after another, each
time the one whose loss hurts least, and a head's rank is how late it went. The hurt is measured
on the untouched model's own right answers, read in one pass (no generating): a mask under which
every token of such an answer stays likely gives the same answer. Which heads come into question
is decided by the learned gates, so that a few hundred answers are enough. Ours, not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel
from trl.trainer.utils import add_fused_lm_head

from rlkv.gates import Gates

ROWS = 32
TRIED = 4
"""Candidates that are really removed and measured, of those that a gradient calls cheapest."""
FEW, SHARE = 24, 4
"""A quarter of the kept heads beyond two dozen goes at a time: large models have hundreds."""
AMONG, AT_LEAST = 0.1, 4
"""Share of all heads, the lowest gates of those still kept, that come into question at a time. The
gates have seen thousands of answers, elimination sees a hundred: with a quarter of the heads in
question it did worse at 60 % sparsity than the gates alone, with a tenth better everywhere."""
LOST = 0.05
"""Share of the full cache's likelihood of a whole answer below which nothing is left to tell: the
remaining heads are ranked by their gates."""


@dataclass(frozen=True)
class Text:
    """Token ids of a prompt and of a right answer to it."""

    prompt: Sequence[int]
    answer: Sequence[int]


Progress = Callable[[int, int], bool]


def eliminate(
    model: PreTrainedModel,
    gates: Gates,
    texts: Sequence[Text],
    progress: Progress = lambda done, total: True,
    rows_at_once: int = 0,
) -> NDArray[np.float32]:
    """Scores `[layers, kv_heads]` in (0, 1]: about the sparsity up to which a head stays.

    `gates` must be attached to the model; their values are used and left as they were.
    `progress(removed, heads)` may return False to end early: the rest is ranked by gates.
    """
    learned = gates.values.detach().clone()
    judge = _Judge(model, gates, _batches(texts, rows_at_once or ROWS, model.device))
    kept = torch.ones_like(learned, dtype=torch.bool)
    removed: list[int] = []
    likely_at_first = 0.0
    try:
        with gates.plain():
            while kept.sum() > 1 and progress(len(removed), kept.numel()):
                look = judge.look(kept)
                likely_at_first = likely_at_first or look.likely
                if look.likely < LOST * likely_at_first:
                    break
                candidates = _candidates(kept, look.worth, learned)
                gone = _next(judge, kept, candidates)
                removed += gone
                kept.view(-1)[gone] = False
    finally:
        with torch.no_grad():
            gates.values.copy_(learned)
        gates.values.grad = None
    return _scores(removed, learned)


def _candidates(kept: torch.Tensor, worth: torch.Tensor, learned: torch.Tensor) -> list[int]:
    """Flat indices of the kept heads with the lowest gates, the cheapest by gradient first."""
    among = max(AT_LEAST, round(AMONG * kept.numel()))
    gate = torch.where(kept, learned, torch.inf).flatten()
    lowest = gate.argsort(stable=True)[: min(among, int(kept.sum()))]
    return [int(i) for i in lowest[worth.flatten()[lowest].argsort(stable=True)]]


def _next(judge: _Judge, kept: torch.Tensor, candidates: list[int]) -> list[int]:
    """Several by the gradient's guess while many are left; then the one that costs least."""
    several = (int(kept.sum()) - FEW) // SHARE
    if several > 1:
        return candidates[:several]
    tried = candidates[:TRIED]
    if len(tried) == 1:
        return tried
    return [min(tried, key=lambda head: judge.loss(_without(kept, [head])))]


def _without(kept: torch.Tensor, heads: list[int]) -> torch.Tensor:
    fewer = kept.clone()
    fewer.view(-1)[heads] = False
    return fewer


def _scores(removed: list[int], learned: torch.Tensor) -> NDArray[np.float32]:
    """Ranks as scores: the removed in their order, then the others by gate."""
    gate = learned.flatten().cpu().numpy()
    rest = [i for i in np.argsort(gate, kind="stable") if i not in set(removed)]
    scores = np.empty(gate.size, dtype=np.float32)
    scores[[*removed, *rest]] = (np.arange(gate.size) + 1) / gate.size
    return scores.reshape(learned.shape)


@dataclass(frozen=True)
class _Batch:
    """Texts of about one length, padded on the right."""

    ids: torch.Tensor  # [B, T]
    real: torch.Tensor  # [B, T], 1 where a token stands
    labels: torch.Tensor  # [B, T], the answers' tokens; -100 elsewhere


def _batches(texts: Sequence[Text], rows: int, device: torch.device) -> list[_Batch]:
    # The longest first: what follows fits into the memory that they leave.
    ordered = sorted(texts, key=lambda t: len(t.prompt) + len(t.answer), reverse=True)
    made = []
    for at in range(0, len(ordered), rows):
        part = ordered[at : at + rows]
        longest = max(len(t.prompt) + len(t.answer) for t in part)
        ids = torch.zeros(len(part), longest, dtype=torch.long)
        real = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for row, text in enumerate(part):
            tokens = [*text.prompt, *text.answer]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            real[row, : len(tokens)] = 1
            labels[row, len(text.prompt) : len(tokens)] = torch.tensor(text.answer)
        made.append(_Batch(ids.to(device), real.to(device), labels.to(device)))
    return made


@dataclass(frozen=True)
class _Look:
    """What is known of one hard mask."""

    likely: float
    """Mean likelihood of a whole answer."""
    worth: torch.Tensor
    """First guess of what removing each kept head adds to the loss, `[layers, kv_heads]`."""


class _Judge:
    """How likely the right answers are under a hard mask."""

    def __init__(self, model: PreTrainedModel, gates: Gates, batches: list[_Batch]) -> None:
        self.model, self.gates, self.batches = model, gates, batches
        self.rows = sum(len(b.ids) for b in batches)
        self.tokens = float(sum((b.labels >= 0).sum() for b in batches))

    @torch.no_grad()
    def loss(self, kept: torch.Tensor) -> float:
        """Mean negative log-likelihood of an answer's token (nats)."""
        self.gates.values.copy_(kept)
        return sum(float(self._row_losses(b).sum()) for b in self.batches) / self.tokens

    def look(self, kept: torch.Tensor) -> _Look:
        """What the mask costs, and a first guess of what each head more would."""
        with torch.no_grad():
            self.gates.values.copy_(kept)
        self.gates.values.grad = None
        likely = 0.0
        for batch in self.batches:
            losses = self._row_losses(batch)
            torch.autograd.backward(losses.sum() / self.tokens)
            likely += float(losses.detach().neg().exp().sum())
        assert self.gates.values.grad is not None
        worth = -self.gates.values.grad.clone()
        return _Look(likely / self.rows, worth)

    def _row_losses(self, batch: _Batch) -> torch.Tensor:
        """Negative log-likelihood of each row's answer, `[B]`."""
        with _likelihoods_in_tiles(self.model) as model:
            found = model(
                input_ids=batch.ids,
                attention_mask=batch.real,
                labels=batch.labels,
                use_cache=False,
                fused_lm_head=True,
            )
        losses: torch.Tensor = -found.log_probs.float().sum(1)
        return losses


@contextmanager
def _likelihoods_in_tiles(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """The model able to give log-probabilities as in training: without the logits of all tokens."""
    forward = model.forward
    add_fused_lm_head(model)
    try:
        yield model
    finally:
        model.forward = forward
