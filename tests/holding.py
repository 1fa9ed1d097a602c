"""A job that a test's own process holds: it beats, or a supervisor would end the test's process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage.database import Database
from storage.errors import StorageError
from storage.jobs import Job, Jobs

EVERY_S = 2.0


@contextmanager
def holding(db: Database, job: Job) -> Iterator[Job]:
    """Says every two seconds that the job's worker lives; ends the job if nobody has by then."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(EVERY_S):
            with suppress(StorageError):  # it has ended by now
                Jobs(db).heartbeat(job.id)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield job
    finally:
        over.set()
        thread.join()
        if not Jobs(db).get(job.id).is_terminal:
            Jobs(db).finish(job.id, "cancelled")
