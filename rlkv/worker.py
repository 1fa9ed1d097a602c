"""The process that runs one job by id: `python -m rlkv.worker --job ID`.

The only file of `rlkv` that knows storage. It tells the database how the job goes, obeys its
stop flag, and writes the end of the job together with its mask. SIGINT and SIGTERM mean the
same as the stop flag: finish the step, save, end as cancelled (a later resume goes on).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rlkv import __version__
from rlkv.errors import UserError
from rlkv.reporting import Report, require_tracker
from rlkv.training import ranks
from storage import disk
from storage.database import Database, open_database
from storage.errors import StorageError
from storage.jobs import BEAT_S, Job, Jobs
from storage.masks import Masks
from storage.metrics import Metrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rlkv.masks import HeadMask
    from rlkv.training.config import TrainConfig

log = logging.getLogger("rlkv.worker")

PHASE_S = 0.5
"""Between two writes of how far a phase is: some count in milliseconds."""


class JobObserver:
    """Writes what a training reports into the database, and reads the wish to stop from it."""

    def __init__(self, db: Database, job: Job, say: Callable[[str], None] | None = None) -> None:
        self.jobs, self.metrics = Jobs(db), Metrics(db)
        self.job = job
        # What an earlier attempt stored it has sent as well; those steps are not sent again.
        known = (steps[-1][0] for steps in self.metrics.series(job.id, max_points=2).values())
        self.report = Report(job.id, job.title, job.params, sent=max(known, default=0))
        self.say = say or (lambda text: None)
        self.stopping = threading.Event()
        self._phase, self._phase_told = "", 0.0
        self._closed = threading.Event()
        self._beat = threading.Thread(target=self._beats, name="heartbeat", daemon=True)

    def __enter__(self) -> JobObserver:
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._beat.join()
        self.report.close()

    def _beats(self) -> None:
        """Renews the lease while the main thread works, and notices the stop flag early."""
        while not self._closed.wait(BEAT_S):
            try:
                self._tell()
            except StorageError:
                log.exception("heartbeat failed")

    def event(self, text: str) -> None:
        self.metrics.add_event(self.job.id, "info", text)
        self._tell(message=text)
        self.say(text)

    def phase(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if name == self._phase and done < total and now - self._phase_told < PHASE_S:
            return
        self._phase, self._phase_told = name, now
        self._obey(self.jobs.heartbeat(self.job.id, phase=name, phase_done=done, phase_total=total))

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

    def should_stop(self) -> bool:
        return self.stopping.is_set()

    def _tell(self, step: int | None = None, message: str | None = None) -> None:
        self._obey(self.jobs.heartbeat(self.job.id, step=step, message=message))

    def _obey(self, stop: bool) -> None:
        if stop:
            self.stopping.set()


def run_job(db: Database, job: Job, say: Callable[[str], None] | None = None) -> Job:
    """Runs a job that this process holds, to its end, and returns the ended row.

    Whatever goes wrong ends in the row: a `UserError` as its own line, anything else as a
    defect with the trace in the log.
    """
    jobs = Jobs(db)
    folder = jobs.folder(job.id)
    reserve = disk.Reserve(folder)
    with JobObserver(db, job, say) as observer:
        _obey_signals(observer)
        try:
            reserve.hold()
            mask = _train(job, folder, observer, db.folder / "samples")
        except UserError as error:
            return jobs.finish(job.id, "failed", str(error), exit_code=2)
        except Exception as error:
            full = disk.is_full(error, folder)
            reserve.release()  # so that the end can be written
            log.exception("job %s failed", job.id)
            message = disk.MESSAGE if full else _defect(error)
            return jobs.finish(job.id, "failed", message, exit_code=disk.EXIT_CODE if full else 1)
        finally:
            reserve.release()
        done = mask.info["steps_done"] == job.total_steps
        state, message = ("done", _summary(mask)) if done else ("cancelled", "Stopped; mask kept")
        keep = mask.info["steps_done"] > 0
        if not done and not keep:
            message = "Stopped before the first step"
        return jobs.finish(job.id, state, message, mask=mask.to_record() if keep else None)


def _train(job: Job, folder: Path, observer: JobObserver, samples: Path) -> HeadMask:
    # Heavy imports last, so that the row shows life at once.
    from rlkv.provenance import versions
    from rlkv.training.config import make_config
    from rlkv.training.out_of_memory import train_as_planned

    config = make_config(dict(job.params))
    observer.jobs.describe(job.id, versions(config.device))
    if config.where == "hf-job":
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


def _defect(error: Exception) -> str:
    kind = type(error).__name__
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return f"Out of memory ({kind}): use fewer problems per step or a shorter answer"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{kind}: {error} ({Path(last.filename).name}:{last.lineno}); the log has the trace"


def _obey_signals(observer: JobObserver) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        observer.stopping.set()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)


def run_here(
    config: TrainConfig, say: Callable[[str], None], cloned_from: str | None = None
) -> tuple[Job, HeadMask | None]:
    """The command line's way: makes a row held by this process and runs it.

    Returns the ended row and its mask, if it got that far.
    """
    from rlkv.masks import HeadMask

    prepare_environment()
    db = open_database()
    try:
        job = run_job(db, create(config, db, claimed_by=os.getpid(), cloned_from=cloned_from), say)
        rows = Masks(db).list(job_id=job.id)
        return job, HeadMask.from_record(rows[0].to_record()) if rows else None
    finally:
        db.close()


def check_database() -> str:
    """Opens the database and checks it; returns where it lies.

    Raises:
        UserError: what is wrong with it.
    """
    try:
        db = open_database()
        try:
            problems = db.check()
        finally:
            db.close()
    except StorageError as error:
        raise UserError(str(error)) from error
    if problems:
        raise UserError(f"The database is damaged: {problems[0]}")
    return str(db.path)


def _spread_out(db: Database, job: Job) -> None:
    """Becomes the launcher of several processes if the job wants them; else does nothing.

    The ranks find the job held by this process, their parent.
    """
    from rlkv.training.config import make_config
    from rlkv.training.launching import spread_out

    if job.is_terminal:
        return
    try:
        config = make_config(dict(job.params))
        spread_out(config, ["rlkv.worker", "--job", job.id], restarts=True)
    except UserError as error:
        Jobs(db).start(job.id)
        Jobs(db).finish(job.id, "failed", str(error), exit_code=2)


def create(
    config: TrainConfig,
    db: Database,
    *,
    request_key: str | None = None,
    claimed_by: int | None = None,
    cloned_from: str | None = None,
) -> Job:
    """Puts a training into the queue; the app's way to start one.

    Raises:
        UserError: if it is to report to a tracker that is not installed.
    """
    require_tracker(config.report_to)
    return Jobs(db).create(
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


def prepare_environment() -> None:
    """To be called before torch is imported: no telemetry, no spinning threads, less noise."""
    # Threads that wait by spinning take the cores away from the chat beside the training: with
    # two such processes on two cores a step took 5 to 20 s instead of 1.8 s (docs/results.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.environ.get("RLKV_OFFLINE") == "1":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if the job came to an end of its own or was stopped, 1 or 2 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m rlkv.worker", description="Run one job.")
    parser.add_argument("--job", required=True, help="id of the job")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    prepare_environment()
    if hasattr(os, "nice"):
        os.nice(5)  # the app's answers go first
    if not ranks.is_main():
        return ranks.follow()
    ranks.watch_launcher()
    begun = time.monotonic()
    db = open_database()
    try:
        _spread_out(db, Jobs(db).get(options.job))
        job = run_job(db, Jobs(db).start(options.job), say=lambda text: log.info("%s", text))
        log.info("%s after %.0f s: %s", job.state, time.monotonic() - begun, job.message)
        return job.exit_code or 0
    except StorageError as error:
        log.error("%s", error)
        return disk.EXIT_CODE if disk.is_full(error, db.folder) else 2
    finally:
        db.close()


if __name__ == "__main__":
    sys.exit(main())
