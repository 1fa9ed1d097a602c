"""What a worker tells the database of any job while it runs, and how it hears of a stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from storage.database import Database
from storage.jobs import BEAT_S, Job, Jobs
from storage.metrics import Metrics

log = logging.getLogger("rlkv.worker")

PHASE_S = 0.5
"""Between two writes of how far a phase is: some count in milliseconds."""

Say = Callable[[str], None]


class Watch:
    """Keeps a job's row alive, and reads the wish to stop from it."""

    def __init__(self, db: Database, job: Job, say: Say | None = None) -> None:
        self.jobs, self.metrics = Jobs(db), Metrics(db)
        self.job = job
        self.say = say or (lambda text: None)
        self.stopping = threading.Event()
        self._phase, self._phase_told = "", 0.0
        self._closed = threading.Event()
        self._beat = threading.Thread(target=self._beats, name="heartbeat", daemon=True)

    def __enter__(self) -> Watch:
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._beat.join()

    def _beats(self) -> None:
        """Renews the lease while the main thread works, and notices the stop flag early."""
        while not self._closed.wait(BEAT_S):
            try:
                self._tell()
            except Exception:  # also of a disk that fails once: silence would end the worker
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

    def should_stop(self) -> bool:
        return self.stopping.is_set()

    def _tell(
        self, step: int | None = None, message: str | None = None, total: int | None = None
    ) -> None:
        self._obey(self.jobs.heartbeat(self.job.id, step, total, message))

    def _obey(self, stop: bool) -> None:
        if stop:
            self.stopping.set()
