"""Elimination: the final ranking, found by taking heads away one by one under hard masks.

What a head is worth depends on which others are still there, and on being missing altogether
instead of being turned down. So heads are removed from the full model one after another, each
time the one whose loss hurts least, and a head's rank is how late it went. The hurt is measured
on the untouched model's own right answers, read in one pass (no generating): a mask under which
every token of such an answer stays likely gives the same answer. What counts is the likelihood of
whole answers: a mean over tokens would be ruled by the answers that are lost anyway. Which heads
come into question is decided by the learned gates, so that two hundred answers are enough, until
few are left. Ours, not the paper's.
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
from rlkv.training.eval_mode import in_eval_mode
from rlkv.training.removed_heads import RemovedHeads

ROWS = 32
ROUGH = 48
"""Answers for the first look: at gradients, and at all heads when few are left."""
TRIED = 4
"""Heads that are tried on all answers: the best of that look, or the lowest gates."""
FEW, SHARE = 24, 4
"""A quarter of the kept heads beyond two dozen goes at a time: large models have hundreds."""
AMONG, AT_LEAST = 0.1, 4
"""Share of all heads, the lowest gates of those still kept, that come into question at a time. The
gates have seen thousands of answers, elimination sees two hundred: with a quarter of the heads in
question it did worse at 60 % sparsity than the gates alone, with a tenth better everywhere."""
EDGE = 16
"""From so few heads on, each is missed and gates say little of what it is worth: all are tried."""
LOST = 0.05
"""Share of an answer's likelihood below which nothing is left to tell: the remaining heads are
ranked by their gates."""
TIE = 0.01
"""Weight of the mean loss of a token (nats) beside the share of the likelihood that is lost."""


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
    record: RemovedHeads | None = None,
) -> NDArray[np.float32]:
    """Scores `[layers, kv_heads]` in (0, 1]: about the sparsity up to which a head stays.

    `gates` must be attached to the model; their values are used and left as they were.
    `progress(removed, heads)` may return False to end early: the rest is ranked by gates.
    With a `record` it goes on after the heads removed there, and adds to it.
    """
    learned = gates.values.detach().clone()
    removed = record.read(learned) if record else []
    kept = torch.ones_like(learned, dtype=torch.bool)
    kept.view(-1)[removed] = False
    rows = rows_at_once or ROWS
    try:
        with gates.plain(), in_eval_mode(model):
            fine = _Judge(model, gates, _batches(texts, rows, model.device))
            rough = _Judge(model, gates, _batches(texts[:ROUGH], rows, model.device))
            while kept.sum() > 1 and progress(len(removed), kept.numel()):
                candidates = _candidates(kept, learned)
                several = (int(kept.sum()) - FEW) // SHARE
                if several > 1:
                    left, gone = _by_gradient(rough, kept, candidates, several)
                else:
                    left, gone = _by_trying(rough, fine, kept, candidates)
                if left < LOST:
                    break
                removed += gone
                kept.view(-1)[gone] = False
                if record:
                    record.write(learned, removed)
    finally:
        with torch.no_grad():
            gates.values.copy_(learned)
        gates.values.grad = None
    return _scores(removed, learned)


def _candidates(kept: torch.Tensor, learned: torch.Tensor) -> list[int]:
    """Flat indices of the heads that come into question, the lowest gate first."""
    left = int(kept.sum())
    among = left if left <= EDGE else max(AT_LEAST, round(AMONG * kept.numel()))
    gate = torch.where(kept, learned, torch.inf).flatten()
    return [int(i) for i in gate.argsort(stable=True)[: min(among, left)]]


def _by_gradient(
    judge: _Judge, kept: torch.Tensor, candidates: list[int], count: int
) -> tuple[float, list[int]]:
    """The share that is left before, and the `count` heads that a gradient calls cheapest."""
    if count >= len(candidates):
        return judge.cost(kept).share, candidates
    look = judge.look(kept)
    worth = look.worth.flatten()
    return look.share, sorted(candidates, key=lambda head: float(worth[head]))[:count]


def _by_trying(
    rough: _Judge, fine: _Judge, kept: torch.Tensor, candidates: list[int]
) -> tuple[float, list[int]]:
    """The share that is left after it, and the head whose removal costs least.

    The lowest gates are tried; near the end all heads, on few answers, and then the best of them.
    """
    if kept.sum() <= EDGE:
        candidates = sorted(candidates, key=lambda head: rough.cost(_without(kept, head)).cost)
    tried = {head: fine.cost(_without(kept, head)) for head in candidates[:TRIED]}
    best = min(tried, key=lambda head: tried[head].cost)
    return tried[best].share, [best]


def _without(kept: torch.Tensor, head: int) -> torch.Tensor:
    fewer = kept.clone()
    fewer.view(-1)[head] = False
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
class _Cost:
    """What a hard mask costs."""

    share: float
    """Mean share of an answer's likelihood that is left, 1 for the full cache."""
    cost: float
    """The share that is lost; a little of the mean loss of a token decides between equals."""


@dataclass(frozen=True)
class _Look:
    """What is left, and what more removals would cost."""

    share: float
    worth: torch.Tensor
    """First guess of what removing each kept head adds to the cost, `[layers, kv_heads]`."""


class _Judge:
    """How likely the right answers are under a hard mask, compared with the full cache."""

    def __init__(self, model: PreTrainedModel, gates: Gates, batches: list[_Batch]) -> None:
        self.model, self.gates, self.batches = model, gates, batches
        self.rows = sum(len(b.ids) for b in batches)
        self.tokens = float(sum((b.labels >= 0).sum() for b in batches))
        with torch.no_grad():
            gates.values.fill_(1.0)
            self.full = [self._row_losses(b) for b in batches]

    @torch.no_grad()
    def cost(self, kept: torch.Tensor) -> _Cost:
        """What the mask costs."""
        self.gates.values.copy_(kept)
        left = nats = 0.0
        for batch, full in zip(self.batches, self.full, strict=True):
            losses = self._row_losses(batch)
            left += float(_share(full, losses).sum())
            nats += float(losses.sum())
        share = left / self.rows
        return _Cost(share, 1.0 - share + TIE * nats / self.tokens)

    def look(self, kept: torch.Tensor) -> _Look:
        """What is left, and a first guess of what each head more would cost."""
        with torch.no_grad():
            self.gates.values.copy_(kept)
        self.gates.values.grad = None
        left = 0.0
        for batch, full in zip(self.batches, self.full, strict=True):
            losses = self._row_losses(batch)
            share = _share(full, losses.detach())
            # The slope of the cost, but also where an answer is likelier than with the full cache.
            weights = share / self.rows + TIE / self.tokens
            torch.autograd.backward((weights * losses).sum())
            left += float(share.sum())
        assert self.gates.values.grad is not None
        worth = -self.gates.values.grad.clone()
        return _Look(left / self.rows, worth)

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


def _share(full: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
    """Share of each answer's likelihood that is left, at most 1, `[B]`."""
    return (full - losses).clamp(max=0.0).exp()


@contextmanager
def _likelihoods_in_tiles(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """The model able to give log-probabilities as in training: without the logits of all tokens."""
    forward = model.forward
    add_fused_lm_head(model)
    try:
        yield model
    finally:
        model.forward = forward
