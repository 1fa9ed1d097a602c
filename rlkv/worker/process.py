"""The process that runs one job by id: `python -m rlkv.worker --job ID`.

It tells the database how the job goes, obeys its stop flag, and writes the end of the job together
with what it leaves. SIGINT and SIGTERM mean the same as the stop flag: finish the step, save, end
as cancelled (a later resume goes on).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rlkv.environment import prepare_environment
from rlkv.errors import UserError
from rlkv.training import ranks
from rlkv.worker import evaluating, training
from rlkv.worker.ending import Ending
from rlkv.worker.watch import Say, Watch
from storage import disk
from storage.database import Database, open_database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.masks import Masks
from storage.samples import CellRow, ProblemRow, SampleRow, Samples

if TYPE_CHECKING:
    from rlkv.evaluation.config import EvalConfig
    from rlkv.evaluation.results import Results
    from rlkv.masks import HeadMask
    from rlkv.training.config import TrainConfig

log = logging.getLogger("rlkv.worker")

KINDS: dict[str, tuple[type[Watch], Callable[[Database, Job, Path, Any], Ending]]] = {
    training.KIND: (training.JobObserver, training.train_job),
    evaluating.KIND: (evaluating.EvalWatch, evaluating.evaluate_job),
}
"""Who watches each kind of job, and what does its work."""


def run_job(db: Database, job: Job, say: Say | None = None) -> Job:
    """Runs a job that this process holds, to its end, and returns the ended row.

    Whatever goes wrong ends in the row: a `UserError` as its own line, anything else as a
    defect with the trace in the log.
    """
    jobs = Jobs(db)
    folder = jobs.folder(job.id)
    reserve = disk.Reserve(folder)
    watch, work = KINDS[job.kind]
    with watch(db, job, say) as observer:
        _obey_signals(observer)
        try:
            reserve.hold()
            end = work(db, job, folder, observer)
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
        return jobs.finish(job.id, end.state, end.message, mask=end.mask)


def _defect(error: Exception) -> str:
    from rlkv.out_of_memory import is_out_of_memory

    kind = type(error).__name__
    if is_out_of_memory(error):
        return f"Out of memory ({kind}): use fewer rows at once or a shorter longest answer"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{kind}: {error} ({Path(last.filename).name}:{last.lineno}); the log has the trace"


def _obey_signals(observer: Watch) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        observer.stopping.set()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)


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
    from rlkv.training.cloning import to_go_on_with
    from rlkv.training.launching import spread_out

    if job.is_terminal or job.kind != training.KIND:
        return
    try:
        config = to_go_on_with(job.params)
        spread_out(config, ["rlkv.worker", "--job", job.id], restarts=True)
    except UserError as error:
        Jobs(db).start(job.id)
        Jobs(db).finish(job.id, "failed", str(error), exit_code=2)


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


def run_here(
    config: TrainConfig, say: Say, cloned_from: str | None = None
) -> tuple[Job, HeadMask | None]:
    """The command line's way: makes a row held by this process and runs it.

    Returns the ended row and its mask, if it got that far.
    """
    from rlkv.masks import HeadMask

    db = open_database()
    try:
        row = training.create(config, db, claimed_by=os.getpid(), cloned_from=cloned_from)
        job = run_job(db, row, say)
        rows = Masks(db).list(job_id=job.id)
        return job, HeadMask.from_record(rows[0].to_record()) if rows else None
    finally:
        db.close()


@dataclass(frozen=True)
class Evaluated:
    """An ended evaluation with all that it measured."""

    job: Job
    results: Results
    problems: Sequence[ProblemRow]
    cells: Sequence[CellRow]
    samples: Sequence[SampleRow]


def evaluate_here(config: EvalConfig, say: Say) -> Evaluated:
    """As `run_here`, for an evaluation."""
    db = open_database()
    try:
        row = evaluating.create_evaluation(config, db, claimed_by=os.getpid())
        return _evaluated(db, run_job(db, row, say))
    finally:
        db.close()


def resume_here(job_id: str, say: Say) -> Evaluated:
    """Goes on with an ended evaluation, in this process.

    Raises:
        UserError: if there is no such evaluation, it is done, or another process has it.
    """
    db = open_database()
    try:
        jobs = Jobs(db)
        if jobs.get(job_id).kind != evaluating.KIND:
            raise UserError(f"Job {job_id} is not an evaluation.")
        jobs.resume(job_id)
        return _evaluated(db, run_job(db, jobs.start(job_id), say))
    except StorageError as error:
        raise UserError(str(error)) from error
    finally:
        db.close()


def _evaluated(db: Database, job: Job) -> Evaluated:
    found = evaluating.results_of(db, job)
    told = Samples(db)
    return Evaluated(job, found, told.problems(job.id), told.cells(job.id), told.all(job.id))
