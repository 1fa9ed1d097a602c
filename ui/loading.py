"""How a model gets into memory, step by step: watched while it does, stopped between steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rlkv.headroom import gigabytes
from ui.heavy import heavy
from ui.zero_gpu import placement

_reading = threading.Lock()
"""Weights are read one model at a time: two that fit alone may not fit together."""


class Cancelled(Exception):
    """Loading was cancelled, and nothing is left of it."""


class Progress:
    """What a loading thread is at; it writes, others read."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.checking = True
        self.words = "Looking at its configuration"
        self.share: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def at(self, words: str, share: float | None = None) -> None:
        """Notes a step of loading."""
        self.checking, self.words, self.share = False, words, share


class Loading:
    """One attempt. `dropped` is asked between steps, and while files are fetched."""

    def __init__(self, ref: str, progress: Progress, dropped: Callable[[], bool]) -> None:
        self._ref, self._progress, self._dropped = ref, progress, dropped

    def run(self, *, check: bool) -> tuple[Any, Any]:
        """(model, tokenizer).

        Args:
            check: whether it has to be found, fetched and measured first; the embedded model
                need not.

        Raises:
            UserError: if there is no such model, or it can't be served, fetched or does not fit.
            Cancelled: if it was dropped before its weights were read.
        """
        models = heavy("rlkv.models")
        heavy("rlkv.generation")
        if not check:
            return self._read(models)
        facts = self._prepare()
        with _reading:
            self._go_on()
            # Again: what was free may have been taken since.
            heavy("rlkv.model_facts").require_room(facts)
            return self._read(models)

    def _read(self, models: Any) -> tuple[Any, Any]:
        self._progress.at("Reading the weights")
        loaded: tuple[Any, Any] = models.load_model(self._ref, **placement(self._ref))
        return loaded

    def _prepare(self) -> Any:
        model_facts = heavy("rlkv.model_facts")
        facts = model_facts.read_facts(self._ref)
        model_facts.require_loadable(facts)
        self._go_on()
        if facts.place == "hub":
            self._fetch(facts.download)
        self._progress.at("Waiting for another model to be read")
        return facts

    def _fetch(self, size: int) -> None:
        weights = heavy("rlkv.weights")
        most = 0

        def watch(done: int) -> None:
            nonlocal most
            most = max(most, done)
            of = f" of {gigabytes(size)}" if size else ""
            share = min(most / size, 1.0) if size else None
            self._progress.at(f"Downloading: {gigabytes(most)}{of}", share)

        watch(0)
        try:
            weights.fetch(self._ref, watch, self._dropped)
        except weights.Stopped as stopped:
            raise Cancelled from stopped

    def _go_on(self) -> None:
        if self._dropped():
            raise Cancelled
