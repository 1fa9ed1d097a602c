"""The models of the app: the embedded one, and a few others that were asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlkv.errors import UserError
from ui.engine import LOADING_SECONDS, MODEL, Engine, Status

MOST = 2
"""Models kept beside the embedded one; the one that was asked for longest ago makes room."""


class Engines:
    """One `Engine` a model. What is lent or being loaded never makes room for another."""

    def __init__(self) -> None:
        self._embedded = Engine()
        self._others: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def embedded(self) -> Engine:
        return self._embedded

    def of(self, model: str) -> Engine:
        """The engine of a model; nothing is loaded before it is asked to. One whose loading failed
        is made anew: the model may be there by now."""
        with self._lock:
            if model == MODEL:
                if self._embedded.failed:
                    self._embedded = Engine()
                return self._embedded
            engine = self._others.pop(model, None)
            if engine is None or engine.failed:
                engine = Engine(model)
            self._others[model] = engine
            leaving = self._make_room()
        for one in leaving:
            _unload_quietly(one)
        return engine

    def load(self, model: str) -> None:
        """Starts loading a model, or tries again."""
        self.of(model).load_in_background()

    def cancel(self, model: str) -> None:
        """Ends loading, if it is under way.

        Raises:
            UserError: for the embedded model.
        """
        _require_other(model)
        if (engine := self._known(model)) is not None:
            engine.cancel()

    def unload(self, model: str) -> None:
        """Gives a model's memory back.

        Raises:
            UserError: for the embedded model, and while it is lent.
        """
        _require_other(model)
        if (engine := self._known(model)) is not None:
            engine.unload()

    @contextmanager
    def lease(self, model: str, timeout: float = LOADING_SECONDS) -> Iterator[tuple[Any, Any]]:
        """Lends (model, tokenizer), loading it first; it is not unloaded before the block ends.

        Raises:
            UserError: if it can't be loaded, saying why.
        """
        with self._lock:  # none makes room between being found and being lent
            engine = self.of(model)
            engine.hold()
        try:
            yield engine.loaded(timeout)
        finally:
            engine.release()

    def status(self, model: str) -> Status:
        """How it stands with a model; looking makes and moves nothing."""
        engine = self._known(model)
        return engine.status if engine else Status()

    def in_memory(self) -> list[str]:
        """References of the models that are loaded, beside the embedded one."""
        with self._lock:
            return [ref for ref, engine in self._others.items() if engine.status.state == "ready"]

    def _known(self, model: str) -> Engine | None:
        if model == MODEL:
            return self._embedded
        with self._lock:
            return self._others.get(model)

    def _make_room(self) -> list[Engine]:
        """Takes out what is too many: first what holds nothing, then what was asked for longest
        ago. The newest stays."""
        *older, _ = self._others.items()
        free = [(ref, engine) for ref, engine in older if engine.idle]
        free.sort(key=lambda item: item[1].status.state == "ready")
        leaving = free[: max(len(self._others) - MOST, 0)]
        for ref, _ in leaving:
            del self._others[ref]
        return [engine for _, engine in leaving]


def _require_other(model: str) -> None:
    if model == MODEL:
        raise UserError("The embedded model is small and always there.")


def _unload_quietly(engine: Engine) -> None:
    try:
        engine.unload()
    except UserError:  # lent in this moment: it goes when its last user lets go of it
        return
