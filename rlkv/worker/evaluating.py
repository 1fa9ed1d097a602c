"""Evaluations as jobs: every answer goes into the database the moment it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkv import __version__
from rlkv.worker.ending import Ending
from rlkv.worker.watch import Say, Watch
from storage.database import Database
from storage.jobs import Job, Jobs
from storage.samples import Place, SampleRow, Samples

if TYPE_CHECKING:
    from rlkv.evaluation.config import EvalConfig
    from rlkv.evaluation.results import Results
    from rlkv.evaluation.samples import Sample
    from rlkv.tasks import Problem

KIND = "eval"


class EvalWatch(Watch):
    """Keeps the samples of an evaluation; a step of the job is a sample."""

    def __init__(self, db: Database, job: Job, say: Say | None = None) -> None:
        super().__init__(db, job, say)
        self.samples = Samples(db)
        self.done = self.total = 0
        self._cell = ""

    def plan(
        self,
        problems: Sequence[Problem],
        cells: Sequence[tuple[str, Mapping[str, Any]]],
        draws: int,
    ) -> set[Place]:
        self.samples.plan(self.job.id, [(p.prompt, p.answer) for p in problems], cells)
        known = self.samples.known(self.job.id)
        self.done, self.total = len(known), len(cells) * len(problems) * draws
        self._tell(step=self.done, total=self.total, message="Answering")
        return known

    def keep(self, samples: Sequence[Sample]) -> None:
        self.samples.add(self.job.id, [SampleRow(**asdict(sample)) for sample in samples])
        self.done += len(samples)
        self._tell(step=self.done)
        self.phase("answering", self.done, self.total)
        for sample in samples:
            if sample.cell != self._cell:
                self._cell = sample.cell
                self.say(f"{self.done}/{self.total}  {sample.cell}")


def evaluate_job(db: Database, job: Job, folder: Path, observer: EvalWatch) -> Ending:
    """Answers what is missing, and says how the row is to end.

    Raises:
        UserError: as the evaluation does.
    """
    # Heavy imports last, so that the row shows life at once.
    from rlkv.evaluation.config import make_eval_config
    from rlkv.evaluation.run import evaluate
    from rlkv.provenance import versions

    config = make_eval_config(dict(job.params))
    observer.jobs.describe(job.id, versions(config.device))
    if not evaluate(config, folder, observer):
        return Ending("cancelled", f"Stopped; {observer.done} answers kept")
    return Ending("done", summary(results_of(db, job), config))


def results_of(db: Database, job: Job) -> Results:
    """The table of what an evaluation has measured so far."""
    from rlkv.evaluation.config import make_eval_config
    from rlkv.evaluation.results import results

    config = make_eval_config(dict(job.params))
    samples = Samples(db)
    return results(
        [(cell.key, cell.info) for cell in samples.cells(job.id)],
        samples.marks(job.id),
        problems=len(samples.problems(job.id)),
        draws=config.draws,
        seed=config.seed,
    )


def summary(found: Results, config: EvalConfig) -> str:
    """The last line of a complete evaluation."""
    from rlkv.evaluation.results import near_lossless, unseen

    assert found.full is not None
    hidden = unseen(config.problems)
    words = [f"Done: full cache {found.full.accuracy:.1%} right"]
    for series in found.series:
        if series.method == "learned" and not series.top:
            best = near_lossless(series, config.tolerance)
            reach = (
                f"up to {100 * best.sparsity:.4g}% sparsity" if best else "at no measured sparsity"
            )
            words.append(f"{series.title} near-lossless {reach}")
            if best and hidden > config.tolerance:
                words.append(
                    f"{config.problems} problems are few, {100 * hidden:.0f} points can go unseen"
                )
    return "; ".join(words)


def _name(model: str) -> str:
    """The last part of a path or a Hub id."""
    return model.rstrip("/").rpartition("/")[2] or model


def create_evaluation(
    config: EvalConfig,
    where: Database | Jobs,
    *,
    request_key: str | None = None,
    claimed_by: int | None = None,
    cloned_from: str | None = None,
) -> Job:
    """Puts an evaluation into the queue; the app's way to start one.

    ``where`` may be the jobs of one visitor of a shared copy.
    """
    asked = f"{config.task} · {config.problems} problems · seed {config.seed}"
    jobs = where if isinstance(where, Jobs) else Jobs(where)
    return jobs.create(
        KIND,
        config.model_dump(mode="json"),
        title=f"{_name(config.model)} · {asked}",
        model=config.model,
        seed=config.seed,
        request_key=request_key,
        claimed_by=claimed_by,
        cloned_from=cloned_from,
        code_version=__version__,
    )
