"""The supervisor's side of the jobs: who is next, whose worker is lost, and what follows then.

Every change checks, under the write lock, that the job is still what the caller saw: between
the look and the change a worker may have finished, or another supervisor may have acted.
"""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import transitions
from storage.database import Database
from storage.jobs import LEASE_S, Job
from storage.metrics import note
from storage.processes import ProcessIdentity
from storage.schema import JobTable, detached
from storage.transitions import HELD, IN_TURN


class Queue:
    """Claims jobs, and takes them back from workers that are gone."""

    def __init__(self, db: Database, *, lease_s: float = LEASE_S) -> None:
        self._db = db
        self._lease_s = lease_s

    def claim(self, worker_id: str, slots: int | None = None) -> Job | None:
        """The next queued job, now "starting", for one caller only; None if there is none.

        Nothing is claimed while ``slots`` jobs are held already, by whomever: jobs that a
        command line runs by itself use the same machine.
        """
        turn = select(JobTable).where(JobTable.state == "queued").order_by(*IN_TURN).limit(1)
        held = select(func.count()).where(JobTable.state.in_(HELD))
        with self._db.write() as session:
            if slots is not None and (session.scalar(held) or 0) >= slots:
                return None
            row = session.scalar(turn)
            if row is None:
                return None
            transitions.begin_attempt(row, worker_id, self._lease_s)
            row.changes += 1
            return detached(Job, row)

    def record_process(self, job: Job, process: ProcessIdentity) -> None:
        """Write down which process was started for a claimed job, if it did not do so itself."""
        with self._db.write() as session:
            row = _unchanged(session, job)
            if row is not None and row.pid is None:
                transitions.hold(row, process)

    def tell(self, job: Job, level: str, text: str) -> None:
        """Add a line to the log of a job that is still what the caller saw."""
        with self._db.write() as session:
            row = _unchanged(session, job)
            if row is not None:
                note(session, job.id, level, text)
                row.changes += 1

    def put_back(self, job: Job) -> None:
        """Undo a claim that never got a process: the supervisor that made it is gone."""
        with self._db.write() as session:
            row = _unchanged(session, job)
            if row is None or row.pid is not None:
                return
            if row.stop_requested:
                _conclude(session, row, "It had not begun.", None)
            else:
                row.attempt -= 1
                transitions.queue_again(row)
                row.changes += 1

    def give_up(self, job: Job, message: str, exit_code: int | None = None) -> None:
        """End a job whose worker ended badly: failed, or cancelled where that was asked."""
        with self._db.write() as session:
            row = _unchanged(session, job)
            if row is not None:
                _conclude(session, row, message, exit_code)

    def interrupt(self, job: Job, message: str, exit_code: int | None = None) -> None:
        """Take a job back from a worker that is gone; cancelled where that was asked."""
        with self._db.write() as session:
            row = _unchanged(session, job)
            if row is None:
                return
            if row.stop_requested:
                _conclude(session, row, message, exit_code)
            else:
                transitions.interrupt(session, row, message, exit_code)
                row.changes += 1

    def requeue_interrupted(self) -> Sequence[Job]:
        """Decide about every interrupted job: queued again, or failed.

        Again if it got further than ever before, or if not too many died at this place: a worker
        that always dies there would do so for ever, one that was killed by chance will not.
        """
        with self._db.write() as session:
            rows = session.scalars(select(JobTable).where(JobTable.state == "interrupted")).all()
            for row in rows:
                _requeue_or_fail(session, row)
            return [detached(Job, row) for row in rows]


def _unchanged(session: Session, job: Job) -> JobTable | None:
    row = session.get(JobTable, job.id)
    # Every attempt has its own start; their numbers begin again when a person resumes a job.
    same = row is not None and row.state in HELD and row.started_at == job.started_at
    return row if same else None


def _conclude(session: Session, row: JobTable, message: str, exit_code: int | None) -> None:
    if row.stop_requested:
        transitions.end(session, row, "cancelled", f"Stopped. {message}", exit_code)
    else:
        transitions.end(session, row, "failed", message, exit_code)
    row.changes += 1


def _requeue_or_fail(session: Session, row: JobTable) -> None:
    row.changes += 1
    further = transitions.reached(row) > row.progress_at_claim
    if further:
        row.max_attempts = row.attempt + transitions.ATTEMPTS - 1  # this was the first one here
    if row.attempt < row.max_attempts:
        but = "" if further else ", though it got no further"
        note(session, row.id, "info", f"Queued again after {_place(row)}{but}.")
        transitions.queue_again(row)
        return
    message = (
        f"{row.message} It got no further in {transitions.ATTEMPTS} attempts, so it is not tried "
        "again. Resume starts it again from its last checkpoint."
    )
    transitions.end(session, row, "failed", message, row.exit_code)


def _place(row: JobTable) -> str:
    if row.phase in transitions.PHASES and row.phase != "training":
        return f"step {row.step} ({row.phase}: {row.phase_done} of {row.phase_total})"
    return f"step {row.step}"
