"""Jobs: what a person asked for, how far it is, and which process holds it.

Pages and the command line create, stop and resume jobs here; the worker reports here. The
states and their changes are in `transitions.py`; who starts, watches and ends processes is
`supervisor.py`.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import processes, transitions
from storage.database import Database
from storage.errors import StorageError
from storage.job import Job
from storage.limits import Limits, require_idle, require_room_for_job
from storage.locations import private_folder
from storage.masks import insert_mask
from storage.metrics import note
from storage.owners import Owner, require_own, seen, sees, written
from storage.schema import JobTable, detached
from storage.transitions import HELD, IN_TURN, TERMINAL, WAITING

LEASE_S = 30.0  # a worker silent for so long has lost its job
BEAT_S = 5.0  # how often a worker should call `Jobs.heartbeat`

__all__ = ["BEAT_S", "LEASE_S", "Job", "Jobs"]


class Jobs:
    """All jobs, or those that ``owner`` sees, who may start as many as ``limits`` say.

    ``lease_s`` is for tests; every process on one database must use the same.
    """

    def __init__(
        self,
        db: Database,
        owner: Owner = None,
        limits: Limits | None = None,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self._db, self._owner, self._limits = db, owner, limits
        self._lease_s = lease_s

    # --- for people ---------------------------------------------------------------------------

    def create(
        self,
        kind: str,
        params: Mapping[str, Any],
        *,
        title: str = "",
        model: str = "",
        total_steps: int = 0,
        seed: int = 0,
        request_key: str | None = None,
        claimed_by: int | None = None,
        priority: int = 0,
        resume_of: str | None = None,
        cloned_from: str | None = None,
        code_version: str = "",
    ) -> Job:
        """Put a job in the queue.

        ``request_key`` names one press of a button: the same key again gives the same job.
        ``claimed_by`` is the pid of a process that will do the job itself (the command line):
        the job is born running, and no supervisor takes it.

        Raises:
            StorageError: the owner has started as many as they may.
        """
        if request_key is not None and self._owner is not None:
            request_key = f"{self._owner}/{request_key}"  # nobody gets a job of somebody else
        with self._db.write() as session:
            same = select(JobTable).where(JobTable.request_key == request_key)
            row = session.scalar(same) if request_key is not None else None
            if row is None:
                if self._limits is not None:
                    require_room_for_job(session, written(self._owner), self._limits)
                row = JobTable(
                    request_key=request_key,
                    kind=kind,
                    title=title or kind,
                    params=dict(params),
                    model=model,
                    priority=priority,
                    max_attempts=transitions.ATTEMPTS,
                    total_steps=total_steps,
                    resume_of=resume_of,
                    cloned_from=self._if_there(session, cloned_from),
                    code_version=code_version,
                    seed=seed,
                    owner=written(self._owner),
                )
                session.add(row)
                session.flush()
                if claimed_by is not None:
                    transitions.begin_attempt(row, None, self._lease_s)
                    transitions.hold(row, processes.identify(claimed_by))
                    transitions.run(row)
            return detached(Job, row)

    def get(self, job_id: str) -> Job:
        """Raises StorageError if there is no such job."""
        with self._db.read() as session:
            return detached(Job, self._found(session, job_id))

    def list(self, limit: int = 50, kind: str | None = None) -> Sequence[Job]:
        """Newest first."""
        statement = select(JobTable).where(seen(JobTable, self._owner))
        statement = statement.order_by(JobTable.created_at.desc(), JobTable.id.desc())
        if kind is not None:
            statement = statement.where(JobTable.kind == kind)
        with self._db.read() as session:
            return [detached(Job, row) for row in session.scalars(statement.limit(limit))]

    def active(self) -> Sequence[Job]:
        """All jobs that have not ended, in the order in which they are or will be run."""
        statement = (
            select(JobTable)
            .where(JobTable.state.not_in(TERMINAL), seen(JobTable, self._owner))
            .order_by(JobTable.state.not_in(HELD), *IN_TURN)
        )
        with self._db.read() as session:
            return [detached(Job, row) for row in session.scalars(statement)]

    def request_stop(self, job_id: str) -> Job:
        """Ask for the end of a job. What it learned is kept; pressing twice changes nothing."""
        with self._edit(job_id) as (session, row):
            if row.state in HELD and not row.stop_requested:
                row.state = "stopping"
                row.stop_requested = True
                note(session, job_id, "info", "Stop requested.")
            elif row.state in WAITING:
                transitions.end(session, row, "cancelled", "Stopped before it ran.", None)
            return detached(Job, row)

    def resume(self, job_id: str) -> Job:
        """Put an ended job back in the queue, to go on from its last checkpoint.

        A job that waits or runs already is left as it is.

        Raises:
            StorageError: the job is done, or the owner has as many running as they may.
        """
        with self._edit(job_id) as (session, row):
            if row.state == "done":
                raise StorageError(f"Job {job_id} is done. Start a new one with its settings.")
            if self._limits is not None and row.state in ("cancelled", "failed"):
                require_idle(session, row.owner, self._limits)
            if row.state in ("cancelled", "failed", "interrupted"):
                transitions.queue_again(row)
                # A person asked: the count of crashes begins anew.
                row.attempt, row.max_attempts = 0, transitions.ATTEMPTS
                row.message = ""
                note(session, job_id, "info", "Resumed by a person.")
            return detached(Job, row)

    def delete(self, job_id: str) -> None:
        """Forget an ended job, its numbers and its folder. Its masks stay.

        Raises:
            StorageError: there is no such job, or it has not ended.
        """
        with self._db.write() as session:
            row = self._found(session, job_id)
            require_own(row, self._owner)
            if row.state not in TERMINAL:
                raise StorageError(f"Job {job_id} is {row.state}. Stop it before deleting it.")
            session.delete(row)
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def folder(self, job_id: str) -> Path:
        """The job's own folder, made if it is not there: checkpoints and ``log.txt``."""
        if not re.fullmatch(r"[0-9a-z]+", job_id):
            raise StorageError(f"{job_id!r} is not the id of a job.")
        if self._owner is not None:
            self.get(job_id)
        return private_folder(self._db.folder / "jobs" / job_id)

    # --- for the worker -----------------------------------------------------------------------

    def start(self, job_id: str, *, pid: int | None = None) -> Job:
        """Take a job for this process (or ``pid``); to be called before any work is done.

        Raises:
            StorageError: another living process holds it, or it has ended.
        """
        process = processes.identify(pid or os.getpid())
        with self._edit(job_id) as (_, row):
            job = detached(Job, row)
            if job.is_terminal:
                raise StorageError(f"Job {job_id} is {row.state}. Resume it to run it again.")
            ours = job.is_held_by(process.pid)
            if not ours and job.is_alive:
                raise StorageError(f"Job {job_id} is already run by process {job.pid}.")
            expected = job.is_held and job.pid is None
            if not ours and not expected:
                transitions.begin_attempt(row, None, self._lease_s)
            if not ours:
                transitions.hold(row, process)
            transitions.run(row)
            transitions.renew(row, self._lease_s)
            return detached(Job, row)

    def heartbeat(
        self,
        job_id: str,
        step: int | None = None,
        total_steps: int | None = None,
        message: str | None = None,
        *,
        phase: str | None = None,
        phase_done: int | None = None,
        phase_total: int | None = None,
    ) -> bool:
        """Say that the worker lives, and how far it is. True: stop and save what there is.

        A process that no longer holds the job is told to stop, and changes nothing.
        """
        with self._db.write() as session:
            row = transitions.find(session, job_id)
            if not detached(Job, row).is_held_by(os.getpid()):
                return True
            transitions.tell(
                row, step=step, total_steps=total_steps, message=message, phase=phase,
                phase_done=phase_done, phase_total=phase_total,
            )  # fmt: skip
            transitions.renew(row, self._lease_s)
            return row.stop_requested

    def describe(self, job_id: str, versions: Mapping[str, Any]) -> None:
        """Keep what this attempt runs on; a change since the last one is told in the log.

        A resumed training on other versions or threads may not give the very same gates.
        """
        with self._edit(job_id) as (session, row):
            for name in sorted({*row.versions, *versions} if row.versions else ()):
                before, now = row.versions.get(name), versions.get(name)
                if before != now:
                    note(session, job_id, "warning", f"Goes on with {name} {now}, was {before}.")
            row.versions = dict(versions)

    def finish(
        self,
        job_id: str,
        state: str,
        message: str = "",
        mask: Mapping[str, Any] | None = None,
        exit_code: int = 0,
    ) -> Job:
        """End a job as done, failed or cancelled; its mask is stored in the same transaction.

        Raises:
            StorageError: the state is not an end, or this process does not hold the job.
        """
        if state not in TERMINAL:
            raise StorageError(f"A job ends as one of {', '.join(TERMINAL)}, not {state!r}.")
        with self._edit(job_id) as (session, row):
            if not detached(Job, row).is_held_by(os.getpid()):
                raise StorageError(f"Job {job_id} is {row.state} and not held by this process.")
            if mask is not None:
                insert_mask(session, mask, owner=row.owner, job_id=job_id)
            transitions.end(session, row, state, message, exit_code)
            return detached(Job, row)

    @contextmanager
    def _edit(self, job_id: str) -> Iterator[tuple[Session, JobTable]]:
        with self._db.write() as session:
            row = self._found(session, job_id)
            require_own(row, self._owner)
            row.changes += 1
            yield session, row

    # --- whose ----------------------------------------------------------------------------

    def _found(self, session: Session, job_id: str) -> JobTable:
        row = transitions.find(session, job_id)
        if not sees(row, self._owner):
            raise transitions.missing(job_id)
        return row

    def _if_there(self, session: Session, job_id: str | None) -> str | None:
        """A job may have been deleted while a page showed it."""
        row = session.get(JobTable, job_id) if job_id else None
        return job_id if row is not None and sees(row, self._owner) else None
