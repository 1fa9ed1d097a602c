"""What a job has measured, read from the database; worked out anew only when there is more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rlkv.evaluation.config import EvalConfig, make_eval_config
from rlkv.evaluation.results import Point, Results, Series, near_lossless
from rlkv.worker import results_of
from storage.jobs import Job
from ui.studio import Studio

PATIENCE_S = 2.0
"""While a job runs its table is worked out at most so often: thousands of answers are counted."""
MOST = 16


@dataclass(frozen=True)
class Measured:
    """The table of one job at one moment."""

    job_id: str
    version: int
    config: EvalConfig
    results: Results

    @property
    def best(self) -> tuple[Series, Point, float] | None:
        """The near-lossless point of the first learned mask, with the tolerance."""
        for series in self.results.series:
            if series.method == "learned" and not series.top:
                point = near_lossless(series, self.config.tolerance)
                return (series, point, self.config.tolerance) if point else None
        return None


@dataclass
class Table:
    """The newest table of the last jobs that were looked at."""

    _known: dict[str, tuple[float, Measured]] = field(default_factory=dict)

    def of(self, studio: Studio, job: Job) -> Measured:
        """The table of a job, at most `PATIENCE_S` old while it runs."""
        version = studio.metrics.version(job.id)
        made, known = self._known.get(job.id, (0.0, None))
        young = not job.is_terminal and time.monotonic() - made < PATIENCE_S
        if known is not None and (known.version == version or young):
            return known
        found = Measured(
            job.id, version, make_eval_config(dict(job.params)), results_of(studio.db, job)
        )
        self._known[job.id] = (time.monotonic(), found)
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return found
