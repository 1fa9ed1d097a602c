"""The loaded models of the app: the embedded one, and a few others that were asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict

from ui.engine import MODEL, Engine

MOST = 2
"""Models kept beside the embedded one; the one that was asked for longest ago makes room."""


class Engines:
    """One `Engine` a model. A caller that still holds one that made room goes on with it."""

    def __init__(self) -> None:
        self._embedded = Engine()
        self._others: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def embedded(self) -> Engine:
        return self._embedded

    def of(self, model: str) -> Engine:
        """The engine of a model; nothing is loaded before it is asked to. One whose loading failed
        is made anew: the model may be there by now."""
        if model == MODEL:
            return self._embedded
        with self._lock:
            engine = self._others.pop(model, None)
            if engine is None or engine.failed:
                engine = Engine(model)
            self._others[model] = engine
            while len(self._others) > MOST:
                self._others.popitem(last=False)
            return engine
