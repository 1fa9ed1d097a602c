"""One model of the app: loaded in the background, lent to whoever answers with it, unloaded.

Everything that needs torch is imported in the background thread that loads the model, so the
first page is served before that. Pages never touch the model itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from rlkv.errors import UserError
from ui.heavy import heavy
from ui.loading import Cancelled, Loading, Progress

if TYPE_CHECKING:
    from rlkv.models import ModelSpec

MODEL = "tracer"
LOADING_SECONDS = 300
LONGEST_PROMPT = 4000
"""Characters; the embedded model's problems have about 60."""

State = Literal["absent", "checking", "loading", "ready", "failed", "unloading"]


@dataclass(frozen=True)
class Status:
    """How it stands with a model, for the page."""

    state: State = "absent"
    words: str = ""
    """What is being done, or why it failed."""
    share: float | None = None
    """Done of what is under way, 0 to 1; None where that can't be known."""
    seconds: float = 0.0
    """Since loading began."""
    leases: int = 0
    """Answers and measurements that use it now, or wait for it."""


class Engine:
    """Loads a model, lends it, and runs comparisons on it. All methods may be called by any
    thread."""

    def __init__(self, model_ref: str = MODEL) -> None:
        self.model_ref = model_ref
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._progress = Progress()
        self._loaded: tuple[Any, Any] | None = None
        self._error = ""
        self._dropped = False
        """Loading was cancelled: what arrives is thrown away."""
        self._unloading = False
        self._leases = 0

    # --- loading --------------------------------------------------------------------------

    def load_in_background(self) -> None:
        """Starts loading; does nothing where that is done, under way, or has failed. One that was
        cancelled and has not ended yet goes on."""
        with self._changed:
            self._dropped = False
            if self._thread is None and self._loaded is None and not self._error:
                self._progress = Progress()
                self._thread = threading.Thread(target=self._load, name="model", daemon=True)
                self._thread.start()

    def load_soon(self, seconds: float = 5.0) -> None:
        """Starts loading in a while: importing torch would hold up the page just opened."""
        timer = threading.Timer(seconds, self.load_in_background)
        timer.daemon = True
        timer.start()

    def cancel(self) -> None:
        """Ends loading: a download at once; weights that are being read can't be interrupted, and
        are dropped when they have arrived."""
        with self._changed:
            if self._thread is not None:
                self._dropped = True
                self._changed.notify_all()

    def unload(self) -> None:
        """Gives the model's memory back; cancels loading.

        Raises:
            UserError: while it is lent.
        """
        self.cancel()
        with self._changed:
            if self._leases and self._loaded is not None:
                raise UserError(
                    f"'{self.model_ref}' is being used by {_uses(self._leases)}: stop what uses "
                    "it, or wait until that has ended."
                )
            held, self._loaded = self._loaded, None
            if held is None:
                return
            self._unloading = True
        try:
            del held
            _give_back()
        finally:
            with self._changed:
                self._unloading = False

    @property
    def ready(self) -> bool:
        """Whether loading has come to an end, good or bad."""
        return self._loaded is not None or self.failed

    @property
    def failed(self) -> bool:
        return bool(self._error)

    @property
    def idle(self) -> bool:
        """Whether nobody uses it or waits for it."""
        return not self._leases and (self._thread is None or self._dropped)

    @property
    def status(self) -> Status:
        """How it stands now."""
        with self._changed:
            if self._thread is not None and not self._dropped:
                told = self._progress
                state: State = "checking" if told.checking else "loading"
                return Status(state, told.words, told.share, told.seconds, self._leases)
            if self._thread is not None:
                words = "Cancelled. Weights still being read are discarded when done"
                return Status("unloading", words, None, self._progress.seconds, self._leases)
            if self._unloading:
                return Status("unloading", "Giving its memory back")
            if self._error:
                return Status("failed", self._error)
            return Status("ready" if self._loaded else "absent", leases=self._leases)

    # --- using ----------------------------------------------------------------------------

    @contextmanager
    def lease(self, timeout: float = LOADING_SECONDS) -> Iterator[tuple[Any, Any]]:
        """Lends (model, tokenizer), loading it first; it is not unloaded before the block ends.

        Raises:
            UserError: as `loaded`.
        """
        self.hold()
        try:
            yield self.loaded(timeout)
        finally:
            self.release()

    def hold(self) -> None:
        """Keeps the model from being unloaded until `release`; `lease` is the way to do both."""
        with self._changed:
            self._leases += 1

    def release(self) -> None:
        """Ends one `hold`."""
        with self._changed:
            self._leases -= 1

    def wait(self, timeout: float) -> tuple[Any, Any] | None:
        """(model, tokenizer), or None if it is not there within `timeout` seconds.

        Raises:
            UserError: if loading failed or was cancelled.
        """
        self.load_in_background()
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None or self._dropped, timeout)
            if self._error:
                raise UserError(self._error)
            if self._loaded is None and (self._thread is None or self._dropped):
                raise UserError(f"Loading '{self.model_ref}' was cancelled.")
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

    # --- in the thread --------------------------------------------------------------------

    def _load(self) -> None:
        while True:
            loaded, error, cancelled = None, "", False
            try:
                loading = Loading(self.model_ref, self._progress, lambda: self._dropped)
                loaded = loading.run(check=self.model_ref != MODEL)
            except Cancelled:
                cancelled = True
            except UserError as refusal:
                error = str(refusal)
            except Exception:
                logging.getLogger(__name__).exception("The model could not be loaded")
                error = f"'{self.model_ref}' could not be loaded; the app's log says why."
            with self._changed:
                if cancelled and not self._dropped:
                    continue  # it was wanted again before the thread had ended
                kept = not self._dropped
                if kept:
                    self._loaded, self._error = loaded, error
                    self._finish()
                    return
            del loaded
            _give_back()
            with self._changed:
                if self._dropped:
                    self._finish()
                    return

    def _finish(self) -> None:
        self._thread = None
        self._dropped = False
        self._changed.notify_all()


def _uses(leases: int) -> str:
    return "one answer or measurement" if leases == 1 else f"{leases} answers or measurements"


def _give_back() -> None:
    heavy("rlkv.headroom").give_back()


@lru_cache(maxsize=64)
def spec(model: str) -> ModelSpec | None:
    """What is known of a model's shape, from its config only; None if it is unknown here."""
    if not model:
        return None
    try:
        found: ModelSpec = heavy("rlkv.models").read_spec(model)
        return found
    except (UserError, OSError, ImportError):
        return None
