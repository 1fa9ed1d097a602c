"""Facts of models, read in the background: a page asks again and never waits long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlkv.errors import UserError
from ui.heavy import heavy

if TYPE_CHECKING:
    from rlkv.model_facts import ModelFacts

PATIENCE_S = 0.3
"""How long a page waits for an answer that is not there yet."""
GOOD_FOR_S = 60.0
"""Files come and go, networks too."""
WRONG_FOR_S = 5.0
"""A reference that led nowhere is tried again soon: the folder may be there by now."""
MOST = 64

_readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="model-facts")


@dataclass
class _Asked:
    answer: Future[ModelFacts]
    at: float

    @property
    def stale(self) -> bool:
        if not self.answer.done():
            return False
        limit = WRONG_FOR_S if self.answer.exception() else GOOD_FOR_S
        return time.monotonic() - self.at > limit


_asked: dict[str, _Asked] = {}
_lock = threading.Lock()


def facts_of(model: str, patience: float = PATIENCE_S) -> ModelFacts | None:
    """What is known of a model; None while it is being read.

    Raises:
        UserError: if there is no such model or it can't be served, saying why.
    """
    with _lock:
        asked = _asked.pop(model, None)
        if asked is None or asked.stale:
            asked = _Asked(_readers.submit(_read, model), time.monotonic())
        _asked[model] = asked
        while len(_asked) > MOST:
            del _asked[next(iter(_asked))]
    try:
        return asked.answer.result(patience)
    except TimeoutError:
        return None


def forget(model: str) -> None:
    """Has a model's facts read anew: it has been fetched, or moved."""
    with _lock:
        _asked.pop(model, None)


def _read(model: str) -> ModelFacts:
    try:
        found: ModelFacts = heavy("rlkv.model_facts").read_facts(model)
    except (OSError, ValueError) as error:
        raise UserError(f"'{model}' can't be read: {error}") from error
    return found
