"""How a job's row changes from one state to the next, within somebody else's transaction.

queued -> starting -> running -> (stopping) -> done | failed | cancelled
             |           |           |
             `-----------+-----------'-> interrupted -> queued again, or failed
"""

import time
from typing import Any

from sqlalchemy.orm import Session

from storage.errors import StorageError
from storage.metrics import note
from storage.processes import ProcessIdentity
from storage.schema import JobTable

HELD = ("starting", "running", "stopping")  # a process has it, or is about to
WAITING = ("queued", "interrupted")
TERMINAL = ("done", "failed", "cancelled")

ATTEMPTS = 3
"""So many workers may die at one place before the job is given up."""
PHASES = ("sampling", "training", "elimination", "measuring")
"""Phases that lie behind each other on the same step, in order; of others only steps count."""

IN_TURN = (JobTable.priority.desc(), JobTable.created_at, JobTable.id)


def find(session: Session, job_id: str) -> JobTable:
    """The row of a job. Raises StorageError if there is none."""
    row = session.get(JobTable, job_id)
    if row is None:
        raise missing(job_id)
    return row


def missing(job_id: str) -> StorageError:
    """What is said of a job that is not there, or is somebody else's."""
    return StorageError(f"There is no job {job_id}. It may have been deleted.")


def reached(row: JobTable) -> int:
    """How far a job is, as one number to compare: the step, the phase, and how far that is.

    In decimal it reads step, one digit for the phase, eight for what is done of it.
    """
    place = PHASES.index(row.phase) + 1 if row.phase in PHASES else 0
    done = min(row.phase_done, 10**8 - 1) if place else 0
    return (row.step * 10 + place) * 10**8 + done


def begin_attempt(row: JobTable, worker_id: str | None, lease_s: float) -> None:
    """Reserve a job for a worker whose process is not known yet."""
    row.state = "starting"
    row.attempt += 1
    # The furthest ever: a worker that goes on from a checkpoint repeats what lay beyond it.
    row.progress_at_claim = max(row.progress_at_claim, reached(row))
    row.worker_id = worker_id
    row.message = row.phase = ""
    row.phase_done = row.phase_total = 0
    row.started_at = time.time()
    row.ended_at = row.exit_code = None
    _forget_process(row)
    renew(row, lease_s)


def hold(row: JobTable, process: ProcessIdentity) -> None:
    """Record the process that runs the job."""
    row.pid, row.pid_start_time = process.pid, process.start_time
    row.host, row.boot_id = process.host, process.boot_id


def tell(row: JobTable, **told: Any) -> None:
    """Write down how far the worker is; what is None stays. Only news count as a change."""
    news = {name: value for name, value in told.items() if value is not None}
    if any(getattr(row, name) != value for name, value in news.items()):
        row.changes += 1
    for name, value in news.items():
        setattr(row, name, value)


def renew(row: JobTable, lease_s: float) -> None:
    """The worker lives: give it time until its next heartbeat."""
    row.heartbeat_at = time.time()
    row.lease_until = row.heartbeat_at + lease_s


def run(row: JobTable) -> None:
    """The worker is at work, or about to stop if that was asked before it came so far."""
    row.state = "stopping" if row.stop_requested else "running"


def queue_again(row: JobTable) -> None:
    """Let the next worker go on from the last checkpoint."""
    row.state = "queued"
    row.stop_requested = False
    row.worker_id = row.lease_until = row.ended_at = row.exit_code = None
    _forget_process(row)


def interrupt(session: Session, row: JobTable, message: str, exit_code: int | None) -> None:
    """The worker is gone without a word; `Queue.requeue_interrupted` says what follows."""
    row.state = "interrupted"
    row.message = message
    row.exit_code = exit_code
    row.lease_until = None
    _forget_process(row)
    note(session, row.id, "warning", message)


def end(session: Session, row: JobTable, state: str, message: str, exit_code: int | None) -> None:
    """Write a terminal state."""
    row.state = state
    row.message = message
    row.exit_code = exit_code
    row.ended_at = time.time()
    row.lease_until = None
    note(session, row.id, "error" if state == "failed" else "info", message or state)


def _forget_process(row: JobTable) -> None:
    row.pid = row.pid_start_time = row.host = row.boot_id = None
