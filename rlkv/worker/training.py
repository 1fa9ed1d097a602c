"""Gate trainings as jobs: what they write into the database, and what they end with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkv import __version__
from rlkv.known_models import require_able
from rlkv.reporting import Report, require_tracker
from rlkv.training.observer import STOPPED_IN
from rlkv.worker.ending import Ending
from rlkv.worker.watch import Say, Watch
from storage.database import Database
from storage.jobs import Job, Jobs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rlkv.masks import HeadMask
    from rlkv.training.config import TrainConfig

KIND = "train"


class JobObserver(Watch):
    """Writes what a training reports into the database."""

    def __init__(self, db: Database, job: Job, say: Say | None = None) -> None:
        super().__init__(db, job, say)
        # What an earlier attempt stored it has sent as well; those steps are not sent again.
        known = (steps[-1][0] for steps in self.metrics.series(job.id, max_points=2).values())
        self.report = Report(job.id, job.title, job.params, sent=max(known, default=0))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.report.close()

    def resumed(self, step: int) -> None:
        self.metrics.truncate_after(self.job.id, step)
        self._tell(step=step)

    def step(self, step: int, metrics: Mapping[str, float], gates: NDArray[np.float32]) -> None:
        layers, heads = gates.shape
        self.metrics.log(self.job.id, step, metrics)
        self.metrics.add_snapshot(
            self.job.id, step, gates.astype("<f4").tobytes(), layers=layers, kv_heads=heads
        )
        self._tell(step=step, message="Training")
        if trouble := self.report.log(step, metrics):
            self.metrics.add_event(self.job.id, "warning", trouble)
        self.say(
            f"step {step}/{self.job.total_steps}  reward {metrics['reward']:.2f}  "
            f"mean gate {metrics['gate_mean']:.2f}  sparsity {metrics['sparsity']:.2f}"
        )


def train_job(db: Database, job: Job, folder: Path, observer: JobObserver) -> Ending:
    """Trains, and says how the row is to end.

    Raises:
        UserError: as the training does.
    """
    mask = _train(job, folder, observer, db.folder / "samples")
    if STOPPED_IN in mask.info:
        return Ending(
            "cancelled", f"Stopped in {mask.info[STOPPED_IN]}; mask kept", mask.to_record()
        )
    if mask.info["steps_done"] == job.total_steps:
        return Ending("done", _summary(mask), mask.to_record())
    if mask.info["steps_done"] > 0:
        return Ending("cancelled", "Stopped; mask kept", mask.to_record())
    return Ending("cancelled", "Stopped before the first step")


def _train(job: Job, folder: Path, observer: JobObserver, samples: Path) -> HeadMask:
    # Heavy imports last, so that the row shows life at once.
    from rlkv.provenance import versions
    from rlkv.training.cloning import to_go_on_with
    from rlkv.training.out_of_memory import train_as_planned

    config = to_go_on_with(job.params)
    far = config.where == "hf-job"  # its device is not to be looked for here
    observer.jobs.describe(job.id, versions("auto" if far else config.device))
    if far:
        from rlkv.remote.following import train_on_hub

        return train_on_hub(config, folder, observer)
    return train_as_planned(config, folder, observer, samples)


def _summary(mask: HeadMask) -> str:
    metrics: Mapping[str, Any] = mask.info.get("metrics", {})
    if not metrics:
        return "Done"
    return (
        f"Done: at 50 % sparsity {100 * metrics['accuracy_at_50']:.0f} % of {metrics['n']} unseen "
        f"problems are right, with the full cache {100 * metrics['accuracy_full']:.0f} %"
    )


def create(
    config: TrainConfig,
    where: Database | Jobs,
    *,
    request_key: str | None = None,
    claimed_by: int | None = None,
    cloned_from: str | None = None,
) -> Job:
    """Puts a training into the queue; the app's way to start one.

    ``where`` may be the jobs of one visitor of a shared copy.

    Raises:
        UserError: if the model is known to solve none of the task's problems, or it is to report
            to a tracker that is not installed.
    """
    require_able(config.model, config.task)
    require_tracker(config.report_to)
    jobs = where if isinstance(where, Jobs) else Jobs(where)
    return jobs.create(
        "train",
        config.model_dump(),
        title=f"{config.model} · {config.task} · {config.steps} steps · seed {config.seed}"[:120],
        model=config.model,
        total_steps=config.steps,
        seed=config.seed,
        request_key=request_key,
        claimed_by=claimed_by,
        cloned_from=cloned_from,
        code_version=__version__,
    )
