"""Caches kept between turns, so that what was read once need not be read again."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from rlkv.cache import SplitHeadCache
from rlkv.masks import HeadMask

KEEPER_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Kept:
    """A cache, and exactly what it has read."""

    conversation: str
    model: weakref.ref[Any]
    heads: tuple[Any, ...]
    ids: tuple[int, ...]
    cache: SplitHeadCache
    logits: torch.Tensor | None
    """Of the token after the last, `[vocabulary]`; without them more must follow."""

    @property
    def what(self) -> tuple[Any, ...]:
        """Two of the same are the same cache."""
        return self.conversation, self.model, self.heads, self.ids

    @property
    def nbytes(self) -> int:
        logits = 0 if self.logits is None else self.logits.untyped_storage().nbytes()
        return self.cache.nbytes + logits


class Keeper:
    """Remembers caches by what they have read, at most `max_bytes` of them, the latest first.

    A cache is given out only for the same model, the same kept heads and window, and a prompt
    that begins with the very tokens it has read; always as a copy. Thread-safe.
    """

    def __init__(self, max_bytes: int = KEEPER_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.RLock()  # a model's end may come while it is held
        self._kept: list[Kept] = []  # the least recently used first

    @property
    def nbytes(self) -> int:
        """Measured bytes of all caches kept."""
        with self._lock:
            return sum(one.nbytes for one in self._kept)

    def find(
        self, conversation: str, model: PreTrainedModel, mask: HeadMask, ids: list[int]
    ) -> Kept | None:
        """The cache that has read most of the prompt `ids`, as a copy; None if there is none."""
        with self._lock:
            best = max(
                (
                    one
                    for one in self._of(conversation, model, mask)
                    if (len(one.ids) < len(ids) or one.logits is not None)
                    and tuple(ids[: len(one.ids)]) == one.ids
                ),
                key=lambda one: len(one.ids),
                default=None,
            )
            if best is None:
                return None
            self._kept = [*(one for one in self._kept if one is not best), best]
            return replace(best, cache=best.cache.fork())

    def has_room(self, nbytes: int) -> bool:
        """Whether a cache of that size would be kept at all."""
        return 0 < nbytes <= self.max_bytes

    def keep(
        self,
        conversation: str,
        model: PreTrainedModel,
        ids: list[int],
        cache: SplitHeadCache,
        logits: torch.Tensor | None = None,
    ) -> None:
        """Takes over a cache that has read `ids`; the caller must not feed it any more."""
        alive = weakref.ref(model, self._model_gone)
        one = Kept(conversation, alive, _heads(cache.mask), tuple(ids), cache, logits)
        if not self.has_room(one.nbytes):
            return
        with self._lock:
            others = [old for old in self._kept if old.what != one.what]
            total = one.nbytes + sum(old.nbytes for old in others)
            while total > self.max_bytes:
                total -= others.pop(0).nbytes
            self._kept = [*others, one]

    def forget(self, conversation: str | None = None) -> None:
        """Frees the caches of one conversation, or all."""
        with self._lock:
            self._kept = [
                one
                for one in self._kept
                if conversation is not None and one.conversation != conversation
            ]

    def _model_gone(self, _: object) -> None:
        with self._lock:
            self._kept = [one for one in self._kept if one.model() is not None]

    def _of(self, conversation: str, model: PreTrainedModel, mask: HeadMask) -> list[Kept]:
        heads = _heads(mask)
        return [
            one
            for one in self._kept
            if (one.conversation, one.heads) == (conversation, heads) and one.model() is model
        ]


def _heads(mask: HeadMask) -> tuple[Any, ...]:
    """What of a mask decides what a cache holds."""
    return mask.shape, mask.kept.tobytes(), mask.sink, mask.recent
