"""What the pages share: the database as whoever asks may see it, the engines, who may do what.

On a shared copy everything that is kept belongs to a visitor. The repositories given here are those
of the visitor who asks, so no page has to think of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkv.errors import UserError
from rlkv.hub.names import is_on_hub
from rlkv.masks import HeadMask
from rlkv.shipped import EXAMPLES as EXAMPLES
from storage.chats import Chats
from storage.database import Database, open_database
from storage.errors import StorageError
from storage.jobs import Jobs
from storage.limits import Limits
from storage.masks import Masks
from storage.metrics import Metrics
from storage.owners import Owner
from storage.samples import Samples
from storage.votes import Votes
from ui import visitor
from ui.engine import MODEL, Engine
from ui.engines import Engines
from ui.quotas import LONGEST_ANSWER, LONGEST_CONTEXT, JobsStarted, MasksKept, ModelTime, Quotas
from ui.retention import Seen


@dataclass(frozen=True)
class Settings:
    """Read once from the environment at start."""

    may_train: bool = True
    """Whether visitors may start and stop jobs."""
    shared: bool = False
    """Whether others than the owner use this copy: each sees their own, within `quotas`."""
    models: tuple[str, ...] = ()
    """Hub ids that visitors of a shared copy may use beside the embedded model."""
    quotas: Quotas = field(default_factory=Quotas)
    data_dir: Path | None = None
    """Where the database lives; None for the user's own data folder."""

    @property
    def limits(self) -> Limits | None:
        """What the database holds a visitor to."""
        return self.quotas.limits if self.shared else None

    @property
    def longest_answer(self) -> int:
        """Tokens that may be asked for at once."""
        return self.quotas.answer_tokens if self.shared else LONGEST_ANSWER

    @property
    def longest_prompt(self) -> int:
        """Tokens that a prompt may have, where the model reads so many."""
        return self.quotas.context if self.shared else LONGEST_CONTEXT

    def allows(self, model: str) -> bool:
        """Whether a model may be used by whoever asks."""
        return not self.shared or model == MODEL or model in self.models

    @classmethod
    def from_environment(cls) -> Settings:
        """On a shared copy anybody can press Start, so training has to be switched on there.

        Raises:
            StorageError: naming a variable that makes no sense.
        """
        shared = visitor.is_shared()
        allowed = os.environ.get("RLKV_ALLOW_TRAINING", "0" if shared else "1") == "1"
        return cls(
            may_train=allowed,
            shared=shared,
            models=_models(os.environ.get("RLKV_MODELS", "")) if shared else (),
            quotas=Quotas.from_environment(),
        )


def _models(text: str) -> tuple[str, ...]:
    refs = tuple(dict.fromkeys(ref.strip() for ref in text.split(",") if ref.strip()))
    for ref in refs:
        if not is_on_hub(ref):
            raise StorageError(
                f"RLKV_MODELS: '{ref[:100]}' is no Hub id: write it as owner/name, or as "
                "owner/name@revision."
            )
    return refs


@dataclass(frozen=True)
class Studio:
    """Handed to every page."""

    settings: Settings
    db: Database
    engines: Engines = field(default_factory=Engines)
    model_time: ModelTime = field(init=False)
    jobs_started: JobsStarted = field(init=False)
    masks_kept: MasksKept = field(init=False)
    _seen: Seen = field(init=False)

    def __post_init__(self) -> None:
        quotas = self.settings.quotas
        object.__setattr__(self, "model_time", ModelTime(quotas.model_seconds))
        object.__setattr__(self, "jobs_started", JobsStarted(quotas.jobs_a_day))
        object.__setattr__(self, "masks_kept", MasksKept(quotas.masks_a_day))
        object.__setattr__(self, "_seen", Seen(self.db))

    @classmethod
    def open(cls, settings: Settings) -> Studio:
        """Opens the database; raises StorageError if that is impossible."""
        return cls(settings=settings, db=open_database(settings.data_dir))

    @property
    def engine(self) -> Engine:
        """The embedded model's."""
        return self.engines.embedded

    # --- what is kept -----------------------------------------------------------------------

    @property
    def owner(self) -> Owner:
        """Whoever asks, on a shared copy; None at home, where everything belongs to everybody."""
        if not self.settings.shared:
            return None
        who = visitor.visitor()
        self._seen.note(who)
        return who

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.db, self.owner, self.settings.limits)

    @property
    def metrics(self) -> Metrics:
        return Metrics(self.db, self.owner)

    @property
    def masks(self) -> Masks:
        return Masks(self.db, self.owner, self.settings.limits)

    @property
    def samples(self) -> Samples:
        return Samples(self.db, self.owner)

    @property
    def chats(self) -> Chats:
        return Chats(self.db, self.owner, self.settings.limits)

    @property
    def votes(self) -> Votes:
        return Votes(self.db, self.owner)

    def keep_mask(self, mask: HeadMask, **origin: str | None) -> str:
        """Stores a mask for whoever asks; -> its key. `origin` as for `Masks.save`.

        Raises:
            UserError, StorageError: if they, or others at their address, have kept too many.
        """
        if not self.settings.shared:
            return self.masks.save(mask.to_record(), **origin).id
        with self.masks_kept.one(visitor.address()):
            return self.masks.save(mask.to_record(), **origin).id

    # --- what may be done -------------------------------------------------------------------

    @contextmanager
    def lease(self, model: str) -> Iterator[tuple[Any, Any]]:
        """Lends (model, tokenizer) to whoever asks, loading it first, and counts the time.

        Raises:
            UserError: if it can't be loaded, or a visitor has used the time they get.
        """
        if not self.settings.shared:
            with self.engines.lease(model) as loaded:
                yield loaded
            return
        where = visitor.address()
        self.model_time.require(where)
        with self.engines.lease(model) as loaded, self.model_time.counted(where):
            yield loaded

    def require_model_time(self) -> None:
        """Raises UserError where a visitor has used the time they get: before they wait in line."""
        if self.settings.shared:
            self.model_time.require(visitor.address())

    def require_training(self) -> None:
        """Checked inside each action: a hidden button does not stop a request.

        Raises:
            UserError: where training is switched off.
        """
        if not self.settings.may_train:
            raise UserError(
                "Training is switched off on this public copy. Run the app on your own machine, "
                "or set RLKV_ALLOW_TRAINING=1 on your own Space."
            )
