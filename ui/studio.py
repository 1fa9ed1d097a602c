"""What the pages share: the database's repositories, the engine, and who may do what."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from rlkv.errors import UserError
from rlkv.shipped import EXAMPLES as EXAMPLES
from storage.chats import Chats
from storage.database import Database, open_database
from storage.jobs import Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from storage.samples import Samples
from ui.engine import Engine
from ui.engines import Engines


@dataclass(frozen=True)
class Settings:
    """Read once from the environment at start."""

    may_train: bool = True
    """Whether visitors may start and stop jobs."""
    any_model: bool = True
    """Whether visitors may have any model loaded, also from this machine's files."""
    may_change_masks: bool = True
    """Whether visitors may rename and delete masks, which all of them see."""
    data_dir: Path | None = None
    """Where the database lives; None for the user's own data folder."""

    @classmethod
    def from_environment(cls) -> Settings:
        """On a Space anybody can press Start, so training has to be switched on there."""
        on_space = bool(os.environ.get("SPACE_ID"))
        allowed = os.environ.get("RLKV_ALLOW_TRAINING", "0" if on_space else "1") == "1"
        return cls(may_train=allowed, any_model=not on_space, may_change_masks=not on_space)


@dataclass(frozen=True)
class Studio:
    """Handed to every page."""

    settings: Settings
    db: Database
    engines: Engines = field(default_factory=Engines)

    @classmethod
    def open(cls, settings: Settings) -> Studio:
        """Opens the database; raises StorageError if that is impossible."""
        return cls(settings=settings, db=open_database(settings.data_dir))

    @property
    def engine(self) -> Engine:
        """The embedded model's."""
        return self.engines.embedded

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.db)

    @property
    def metrics(self) -> Metrics:
        return Metrics(self.db)

    @property
    def masks(self) -> Masks:
        return Masks(self.db)

    @property
    def samples(self) -> Samples:
        return Samples(self.db)

    @property
    def chats(self) -> Chats:
        return Chats(self.db)

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

    def require_library(self) -> None:
        """Checked inside each action that changes a mask that others see.

        Raises:
            UserError: where that is switched off.
        """
        if not self.settings.may_change_masks:
            raise UserError(
                "Masks of this public copy are shared by everybody, so they can't be renamed or "
                "deleted here. Run the app on your own machine to keep your own."
            )
