"""Rankings of heads by what they do, each a number per head: higher needs the far past more.

They are cheap looks at the untouched model; a learned mask is the judge of them, not the other
way round. One function is one ranking; `RANKINGS` names them all. Of the query heads that share a
KV head the mean counts where it is about mass, and the best one where it is about a skill: the KV
head must stay if any of them needs it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.errors import UserError
from rlkv.explore.looking import Looks, Table, looks, mean_looks
from rlkv.explore.measures import MEASURES
from rlkv.explore.probes import ProbeText
from rlkv.explore.stopping import Stop, check, never
from rlkv.explore.watching import Attention, observe, rows_of
from rlkv.gates import Gates
from rlkv.layout import layout_of
from rlkv.models import max_length
from rlkv.streaming import StreamingWindow

REPEATED = 64
"""Random tokens of an induction text, which then come once more."""
SEQUENCES = 4
"""Induction texts that are averaged."""


@dataclass(frozen=True)
class Probe:
    """What rankings are measured on."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    texts: Sequence[ProbeText]
    window: StreamingWindow
    """Of compressed heads: says which tokens are far."""
    seed: int = 0
    stop: Stop = never
    """Asked before every text; True ends it with `Stopped`."""

    @cached_property
    def looks(self) -> list[Looks]:
        """Where heads look on each text that is long enough to have far tokens.

        Raises:
            UserError: if none is.
        """
        least = self.window.sink + self.window.recent + 1
        long = [text.ids for text in self.texts if len(text.ids) >= least]
        if not long:
            raise UserError(
                f"No answer to this task reaches beyond a window of {least - 1} tokens: choose a "
                "task with longer answers, or a mask with a smaller window."
            )
        found = []
        for ids in long:
            check(self.stop)
            found.append(looks(self.model, ids, self.window))
        return found


@dataclass(frozen=True)
class Ranking:
    """One way of scoring heads."""

    key: str
    title: str
    what: str
    """One sentence for people."""
    scores: Callable[[Probe], Table]
    """`[layers, kv_heads]`, higher needs the far past more."""


def far(probe: Probe) -> Table:
    """Mean attention mass on far tokens; texts too short to have any are left out.

    Raises:
        UserError: if all are too short.
    """
    return mean_looks(probe.looks).far


def induction(probe: Probe) -> Table:
    """Attention from a repeated random token to what followed it the first time.

    The mean over positions, then the best query head of the group. Such heads find an earlier
    occurrence and look at what came next (Olsson et al. 2022, arXiv 2209.11895).
    """
    total = torch.zeros(layout_of(probe.model).shape, device=probe.model.device)

    def add(ids: Sequence[int], length: int) -> None:
        queries = torch.arange(len(ids) - length, len(ids), device=total.device)
        asked = (queries - length + 1)[:, None]

        def see(row: int, attention: Attention) -> None:
            weights = attention.weights(queries)
            found = weights.gather(3, asked.expand(*weights.shape[:3], 1))
            total[row] += found.mean((2, 3)).amax(1)

        observe(probe.model, ids, see)

    for ids, length in _repeated_texts(probe):
        check(probe.stop)
        add(ids, length)
    return (total / SEQUENCES).cpu().numpy()


def retrieval(probe: Probe) -> Table:
    """Share of copying steps at which the head looks most at a far copy of the next token.

    A copying step is one at which the token that the answer goes on with also stands among the
    far tokens. The best query head of the group counts. 0 everywhere if there is no such step.
    After the retrieval score of Wu et al. 2024 (arXiv 2404.15574), which asks for a needle.
    """
    layout = layout_of(probe.model)
    group = layout.layers[layout.gated[0]].group
    hits = torch.zeros(*layout.shape, group, device=probe.model.device)
    steps = 0

    def add(text: ProbeText) -> int:
        queries, copies = _copying_steps(text, probe.window)
        copies = copies.to(hits.device)

        def see(row: int, attention: Attention) -> None:
            most = attention.weights(queries).argmax(-1, keepdim=True)
            found = copies.expand(*most.shape[:2], -1, -1).gather(3, most)
            hits[row] += found.sum((2, 3))

        if len(queries):
            observe(probe.model, text.ids, see)
        return len(queries)

    for text in probe.texts:
        check(probe.stop)
        steps += add(text)
    return (hits.amax(2) / max(steps, 1)).cpu().numpy()


@torch.inference_mode(False)
@torch.enable_grad()
def reward_gradient(probe: Probe) -> Table:
    """How much likelier right answers get as a head's gate opens, at the full cache.

    The gradient of log p(answer) by each gate where all are 1, mean over the answers, in nats per
    gate. To first order, closing a gate costs this much. Gates are handed to each pass and never
    attached, so that chats on the same model notice nothing.
    """
    model, window = probe.model, probe.window
    gates = Gates(*layout_of(model).shape, window.sink, window.recent).to(model.device)
    by_module = {module: (gates, row) for module, row in rows_of(model).items()}
    total = torch.zeros_like(gates.values, requires_grad=False)
    for text in probe.texts:
        check(probe.stop)
        tokens = torch.tensor([text.ids], device=model.device)
        logits = model(
            input_ids=tokens,
            use_cache=False,
            logits_to_keep=len(text.answer) + 1,
            rlkv_gates=by_module,
        ).logits[0, :-1]
        answer = tokens[0, -len(text.answer) :, None]
        likelihood = logits.float().log_softmax(-1).gather(1, answer).sum()
        total += torch.autograd.grad(likelihood, gates.values)[0]
    return (total / len(probe.texts)).cpu().numpy()


RANKINGS: dict[str, Ranking] = {
    key: Ranking(key, *MEASURES[key], scores)
    for key, scores in {
        "far": far,
        "induction": induction,
        "retrieval": retrieval,
        "reward_gradient": reward_gradient,
    }.items()
}
"""All rankings by their key."""


def _repeated_texts(probe: Probe) -> list[tuple[list[int], int]]:
    """Texts of random tokens that come twice, and how many tokens lie between the two."""
    tokenizer, model = probe.tokenizer, probe.model
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    size = min(len(tokenizer), model.get_input_embeddings().num_embeddings)
    ordinary = [i for i in range(size) if i not in special]
    length = min(REPEATED, len(ordinary), (max_length(model.config) - 1) // 2)
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    draw = random.Random(probe.seed)
    texts = (draw.sample(ordinary, length) for _ in range(SEQUENCES))
    return [([*start, *text, *text], length) for text in texts]


def _copying_steps(text: ProbeText, window: StreamingWindow) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries `[Q]` whose next token has far copies, and where these are, bool `[Q, T]`."""
    ids = torch.tensor(text.ids)
    position = torch.arange(len(ids))
    next_one = position[len(text.prompt) :, None]
    query = next_one - 1
    far = (position >= window.sink) & (query - position >= window.recent)
    copies = far & (ids == ids[next_one])
    some = copies.any(1)
    return query[some, 0], copies[some]
