"""H2O and R-KV written with loops over tokens, for whole texts at once; the references of tests.

Attention of a family's model is replaced by one that goes through the steps in which a cache
would be fed, row by row and head by head, and writes down which tokens each head keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import cosine_similarity
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from tests.rlkv.families import streaming_mask, tiny


@dataclass
class Head:
    """One KV head of one row: everything the text brings, `[G, T, D]`, `[T, D]`, `[T, D]`."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scaling: float
    softcap: float | None
    sinks: torch.Tensor | None  # [G]
    held: list[int] = field(default_factory=list)
    steps: list[list[int]] = field(default_factory=list)
    """What was held after each step, counted from the row's first token."""
    got: dict[int, float] = field(default_factory=dict)

    def weights(self, g: int, at: int, tokens: Sequence[int]) -> torch.Tensor:
        """Softmax weights of query `at` on the tokens."""
        found = self.key[list(tokens)] @ self.query[g, at] * self.scaling
        if self.softcap is not None:
            found = (found / self.softcap).tanh() * self.softcap
        if self.sinks is not None:
            found = torch.cat([found, self.sinks[g : g + 1]])
        return found.softmax(0)[: len(tokens)]

    def attend(self, begin: int, end: int) -> torch.Tensor:
        """Outputs of the tokens from `begin` to `end`, `[G, T, D]`, which are then held."""
        out = torch.zeros_like(self.query[:, begin:end])
        for at in range(begin, end):
            self.held.append(at)
            for g in range(len(self.query)):
                weights = self.weights(g, at, self.held)
                out[g, at - begin] = weights @ self.value[self.held]
                for token, weight in zip(self.held, weights.tolist(), strict=True):
                    self.got[token] = self.got.get(token, 0.0) + weight
        return out


def h2o(head: Head, end: int, budget: int) -> None:
    """Evicts one by one the token with the least attention, but none of the latest half."""
    while len(head.held) > budget:
        older = [t for t in head.held if t < end - (budget - budget // 2)]
        head.held.remove(min(older, key=lambda t: head.got[t]))


def rkv(head: Head, end: int, budget: int) -> None:
    """Evicts down to a block below the budget once it is reached."""
    if len(head.held) < budget:
        return
    keep = budget - max(1, min(128, budget // 32))
    window = range(max(end - min(8, keep), 0), end)
    held = head.held
    important = [0.0] * len(held)
    for at in window:
        seen = [t for t in held if t <= at]
        weights = torch.stack([head.weights(g, at, seen) for g in range(len(head.query))])
        most = [*weights.amax(0).tolist(), *[0.0] * (len(held) - len(seen))]
        for i in range(len(held)):
            important[i] += max(most[max(i - 3, 0) : i + 4]) / len(window)
    repeated = [0.0] * len(held)
    for t in held:
        cosines = [float(cosine_similarity(head.key[t], head.key[u], 0)) for u in held]
        similar = [i for i, u in enumerate(held) if u != t and cosines[i] > 0.5]
        for i, u in enumerate(held):
            if u != t and not (similar and i == similar[-1]):
                repeated[i] += cosines[i] / len(held)
    repeats = torch.tensor(repeated).softmax(0).tolist()
    value = {t: 0.1 * important[i] - 0.9 * repeats[i] for i, t in enumerate(held)}
    older = sorted((t for t in held if t not in window), key=lambda t: value[t], reverse=True)
    head.held = sorted([*older[: keep - len(window)], *window])


Evict = Callable[[Head, int, int], None]
METHODS: dict[str, Evict] = {"h2o": h2o, "rkv": rkv}


class Plain:
    """The attention function, and what it wrote down."""

    def __init__(
        self,
        evict: Evict,
        budget: Callable[[int], int],
        chunks: Sequence[int],
        attention: torch.Tensor,
    ) -> None:
        self.evict, self.budget, self.attention = evict, budget, attention
        self.ends = [sum(chunks[: i + 1]) for i in range(len(chunks))]
        self.starts = attention.argmax(1).tolist()
        self.heads: list[list[list[Head]]] = []
        """By layer, row and KV head."""

    def __call__(
        self, module, query, key, value, attention_mask, scaling,
        sliding_window=None, softcap=None, s_aux=None, **kwargs: Any,
    ):  # fmt: skip
        batch, heads, length, dim = query.shape
        grouped = query.view(batch, key.shape[1], -1, length, dim)
        sinks = None if s_aux is None else s_aux.view(key.shape[1], -1)
        scaling = scaling or dim**-0.5
        rows = [
            [
                Head(
                    grouped[row, h, :, start:], key[row, h, start:], value[row, h, start:],
                    scaling, softcap, None if sinks is None else sinks[h],
                )
                for h in range(key.shape[1])
            ]
            for row, start in enumerate(self.starts)
        ]  # fmt: skip
        if sliding_window is None:
            self.heads.append(rows)
        out = torch.zeros_like(grouped)
        for row, start in enumerate(self.starts):
            for h, head in enumerate(rows[row]):
                whole = sliding_window is None
                found = self._dropping(head, start) if whole else _sliding(head, sliding_window)
                out[row, h, :, start:] = found
        return out.view(batch, heads, length, dim).transpose(1, 2).contiguous(), None

    def _dropping(self, head: Head, start: int) -> torch.Tensor:
        outs = []
        done = 0
        for column in self.ends:
            end = max(column - start, 0)
            if end > done:
                outs.append(head.attend(done, end))
                self.evict(head, end, self.budget(end))
            done = end
            head.steps.append(list(head.held))
        return torch.cat(outs, dim=1)


def _sliding(head: Head, window: int) -> torch.Tensor:
    length = len(head.key)
    visible = streaming_mask(torch.ones(1, length), 0, window)[0]
    out = torch.zeros_like(head.query)
    for at in range(length):
        tokens = visible[at].nonzero()[:, 0].tolist()
        for g in range(len(head.query)):
            out[g, at] = head.weights(g, at, tokens) @ head.value[tokens]
    return out


def plain_model(family: str, plain: Plain) -> PreTrainedModel:
    """The family's model with that attention, for the texts that it was made for."""
    AttentionInterface.register("plain_dropping", plain)
    AttentionMaskInterface.register("plain_dropping", sdpa_mask)
    return tiny(family, "plain_dropping")
