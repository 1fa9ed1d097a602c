"""How many answers go through the model at once: of the loss, and of what is drawn.

A drawn answer holds a cache only, the loss keeps every layer's activations too, so far more fit
while answers are drawn. Which answers are drawn together decides what is drawn, so a job keeps its
numbers beside its checkpoints, and a resume starts with the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rlkv.files import write_whole
from rlkv.training import ranks
from rlkv.training.config import TrainConfig

FILE = "rows.json"


@dataclass(frozen=True)
class Rows:
    """Rows of one process in one pass."""

    loss: int
    drawn: int

    def __str__(self) -> str:
        return f"{self.loss}" + ("" if self.drawn == self.loss else f" ({self.drawn} drawn)")

    def halved(self, batch: int) -> Rows:
        """At most half of both, but one; each shares the batch evenly."""
        loss, drawn = (most_rows(batch, max(n // 2, 1)) for n in (self.loss, self.drawn))
        return Rows(loss, drawn)

    def at_most(self, other: Rows) -> Rows:
        """The fewer of each."""
        return Rows(min(self.loss, other.loss), min(self.drawn, other.drawn))

    def set_in(self, config: TrainConfig) -> TrainConfig:
        """The settings with these numbers."""
        return config.model_copy(update={"rows_at_once": self.loss, "rollout_rows": self.drawn})


def rows_in(config: TrainConfig) -> Rows:
    """The numbers of the settings; all of a process's share where they leave it open."""
    batch = rows_here(config)
    loss, drawn = config.rows_at_once or batch, config.rollout_rows or batch
    return Rows(min(loss, batch), min(drawn, batch))


def kept_rows(folder: Path) -> Rows | None:
    """What the job in the folder started with; None before its first start."""
    path = folder / FILE
    return Rows(**json.loads(path.read_text())) if path.is_file() else None


def keep_rows(folder: Path, rows: Rows) -> None:
    """For a resume."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, json.dumps(asdict(rows)))


def divisors(batch: int) -> list[int]:
    """Rows at once that share a batch evenly, the most first."""
    return [rows for rows in range(max(batch, 1), 0, -1) if batch % rows == 0]


def most_rows(batch: int, limit: int) -> int:
    """The most rows at once, at most `limit`, that share a batch evenly."""
    return next(rows for rows in divisors(batch) if rows <= limit)


def rows_here(config: TrainConfig) -> int:
    """Answers of one step that fall to each process."""
    return config.rows // ranks.world()
