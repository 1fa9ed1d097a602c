"""One loaded model, and what the pages may ask about models.

Everything that needs torch is imported in the background thread that loads the model, so the
first page is served before that. Pages never touch the model itself.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rlkv.errors import UserError
from rlkv.masks import HeadMask

if TYPE_CHECKING:
    from rlkv.generation import Side
    from rlkv.models import ModelSpec

MODEL = "tracer"
LOADING_SECONDS = 300
LONGEST_PROMPT = 4000
"""Characters; the embedded model's problems have about 60."""


@dataclass
class Engine:
    """Loads a model once and runs comparisons on it."""

    model_ref: str = MODEL
    _ready: threading.Event = field(default_factory=threading.Event)
    _start: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _loaded: tuple[Any, Any] | None = None
    _error: str = ""

    def load_in_background(self) -> None:
        """Starts loading; further calls do nothing."""
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._load, name="model", daemon=True)
                self._thread.start()

    def load_soon(self, seconds: float = 5.0) -> None:
        """Starts loading in a while: importing torch would hold up the page just opened."""
        timer = threading.Timer(seconds, self.load_in_background)
        timer.daemon = True
        timer.start()

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    @property
    def failed(self) -> bool:
        return self.ready and self._loaded is None

    def wait(self, timeout: float) -> tuple[Any, Any] | None:
        """(model, tokenizer), or None if it is not there within `timeout` seconds.

        Raises:
            UserError: if loading failed.
        """
        self.load_in_background()
        if not self._ready.wait(timeout):
            return None
        if self._loaded is None:
            raise UserError(self._error)
        return self._loaded

    def loaded(self, timeout: float = LOADING_SECONDS) -> tuple[Any, Any]:
        """(model, tokenizer), waited for.

        Raises:
            UserError: if loading failed or takes longer than `timeout` seconds.
        """
        found = self.wait(timeout)
        if found is None:
            raise UserError("The model is still loading. Try again in a moment.")
        return found

    def compare(
        self,
        prompt: str,
        mask: HeadMask,
        *,
        max_new_tokens: int,
        stop: threading.Event,
    ) -> Generator[tuple[Side, Side]]:
        """Streams (full, compressed) after every token; greedy, same kernels on both sides."""
        model, tokenizer = self.loaded(120)
        generation = importlib.import_module("rlkv.generation")
        sampling = generation.Sampling(max_new_tokens=max_new_tokens)
        steps = generation.lockstep(model, tokenizer, prompt, [None, mask], sampling, stop)
        try:
            yield from steps
        finally:
            steps.close()

    def unreadable(self, prompt: str) -> list[str]:
        """The words of `prompt` that the loaded model has no token for, each once."""
        loaded = self.wait(0)
        if loaded is None:
            return []
        tokenizer = loaded[1]
        unknown = tokenizer.unk_token_id
        if unknown is None:
            return []
        words = dict.fromkeys(prompt.split())
        return [word for word in words if unknown in tokenizer(word)["input_ids"]]

    def _load(self) -> None:
        try:
            models = importlib.import_module("rlkv.models")
            importlib.import_module("rlkv.generation")
            self._loaded = models.load_model(self.model_ref)
        except UserError as error:
            self._error = str(error)
        except Exception:
            logging.getLogger(__name__).exception("The model could not be loaded")
            self._error = "The model could not be loaded; the app's log says why."
        finally:
            self._ready.set()


@lru_cache(maxsize=64)
def spec(model: str) -> ModelSpec | None:
    """What is known of a model's shape, from its config only; None if it is unknown here."""
    if not model:
        return None
    try:
        found: ModelSpec = importlib.import_module("rlkv.models").read_spec(model)
        return found
    except (UserError, OSError, ImportError):
        return None
