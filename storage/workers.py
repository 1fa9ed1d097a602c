"""Starts workers, notices lost ones, and ends those told to stop.

Nothing that matters is kept in memory: another `Workers` on the same database finds the running
ones by pid and start time, and goes on.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from signal import Signals
from subprocess import Popen

from storage import disk, processes
from storage.database import Database
from storage.errors import StorageError
from storage.jobs import LEASE_S, Job, Jobs
from storage.launching import last_line, launch, worker_command
from storage.queue import Queue
from storage.watches import ClockWatch, Stopwatches, jump_told

Command = Callable[[str], list[str]]
Attempt = tuple[str, float | None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How long the supervisor waits for what, in seconds."""

    poll: float = 0.5  # between two looks at the jobs
    lease: float = LEASE_S  # for a heartbeat
    start: float = 300.0  # for the first heartbeat: torch may come from a slow disk
    flag: float = 10.0  # for a worker to see the stop flag; then SIGINT
    interrupt: float = 30.0  # for it to save after SIGINT; then SIGTERM
    terminate: float = 10.0  # for it to die of SIGTERM; then SIGKILL
    linger: float = 15.0  # for a process to exit after its job has ended; then SIGKILL
    idle: float = 600.0  # without any job; then `Workers.run` returns


class Workers:
    """The workers of one database. Only the supervisor that holds the data folder makes one."""

    def __init__(
        self,
        db: Database,
        *,
        command: Command = worker_command,
        timing: Timing | None = None,
        slots: int = 1,
    ) -> None:
        self._timing = timing or Timing()
        self._folder = db.folder
        self._jobs = Jobs(db)
        self._queue = Queue(db, lease_s=self._timing.lease)
        self._command = command
        self._slots = slots
        self._name = f"{processes.host()}:{os.getpid()}"
        self._children: dict[Attempt, Popen[bytes]] = {}
        self._signalled: dict[Attempt, Signals] = {}
        self._watches = Stopwatches()
        self._clock = ClockWatch(self._timing.lease)
        self._trouble = ""  # of the last look

    def run(self, *, once: bool = False) -> None:
        """Work until there was no job for the idle time; with ``once``, until there is none."""
        idle_since = time.monotonic()
        while True:
            busy = self._try_tick()
            if busy:
                idle_since = time.monotonic()
            elif once or time.monotonic() - idle_since >= self._timing.idle:
                return
            time.sleep(self._timing.poll)

    def tick(self) -> bool:
        """Look at every job once, and start what can be started. False: there is no job."""
        active = self._jobs.active()
        if not active and not self._children:
            return False
        jump = self._clock.jump()
        for job in active:
            if job.is_held:
                if jump:
                    self._queue.tell(job, "warning", jump_told(jump))
                self._watch(job)
        self._collect_children()
        if any(not job.is_held for job in self._jobs.active()):
            self._queue.requeue_interrupted()
            self._fill_slots()
        return bool(self._children or self._jobs.active())

    def _fill_slots(self) -> None:
        while len(self._children) < self._slots:
            job = self._queue.claim(self._name, self._slots)
            if job is None:
                return
            self._start(job)

    def _try_tick(self) -> bool:
        try:
            busy = self.tick()
        except Exception as error:
            # A full disk must not end the one who can tell when it has space again, nor be filled
            # by what it says twice a second.
            trouble = f"{type(error).__name__}: {error}".partition("\n")[0]
            if trouble != self._trouble:
                logger.exception("A look at the jobs failed; trying again.")
            self._trouble = trouble
            return bool(self._children)
        self._trouble = ""
        return busy

    def _start(self, job: Job) -> None:
        log = self._jobs.folder(job.id) / "log.txt"
        try:
            child = launch(self._command(job.id), self._folder, log)
        except OSError as error:
            self._queue.give_up(job, f"The worker could not be started: {error}.")
            return
        self._children[_attempt(job)] = child
        logger.info("job %s: attempt %d is process %d", job.id, job.attempt, child.pid)
        self._record(job, child)

    def _record(self, job: Job, child: Popen[bytes]) -> None:
        with contextlib.suppress(StorageError):  # it has ended already: the next look sees that
            self._queue.record_process(job, processes.identify(child.pid))

    # --- what a look at a held job may find ---------------------------------------------------

    def _watch(self, job: Job) -> None:
        child = self._children.get(_attempt(job))
        if child is not None and job.pid in (None, child.pid) and child.poll() is not None:
            self._judge_exit(job, child.returncode)
            return
        if child is not None and job.pid is None:
            self._record(job, child)  # a full disk may have kept it from being written down
        where = job.process.whereabouts() if job.process else "elsewhere"
        if where == "gone":
            self._take_back(job, "The worker process is gone.")
        elif self._is_silent(job):
            self._end_silence(job, where)
        elif where == "alive" and job.stop_requested:
            self._press_stop(job)

    def _judge_exit(self, job: Job, code: int) -> None:
        """A child has exited. Code 0 proves nothing: a worker writes its own end first."""
        if code < 0:
            self._take_back(job, f"The worker was ended by {_signal_name(-code)}.", code)
        elif code == disk.EXIT_CODE:
            self._queue.give_up(job, disk.MESSAGE, code)
        else:
            how = "exited without a result" if code == 0 else f"exited with code {code}"
            self._queue.give_up(job, self._with_log(job, f"The worker {how}."), code)

    def _take_back(self, job: Job, message: str, exit_code: int | None = None) -> None:
        # Only groups that a supervisor made: a command line may share its group with a pipe.
        if job.worker_id and job.pid and job.process and job.process.whereabouts() == "gone":
            processes.sweep(job.pid)
        logger.info("job %s: %s", job.id, message)
        self._queue.interrupt(job, self._with_log(job, message), exit_code)

    def _is_silent(self, job: Job) -> bool:
        """No heartbeat for too long, by a clock that stands still while the computer sleeps."""
        begun = job.state != "starting" or job.pid is None
        patience = self._timing.lease if begun else self._timing.start
        return self._watches.unchanged_for(job.id, "heartbeat", job.heartbeat_at) > patience

    def _end_silence(self, job: Job, where: str) -> None:
        if where == "alive" and job.pid:
            # Not taken back before it is dead: there must never be two workers.
            logger.warning("job %s: process %d is silent, killing it", job.id, job.pid)
            processes.send(job.pid, Signals.SIGKILL)
        elif job.pid is None:
            self._queue.put_back(job)
        else:
            self._take_back(job, f"No sign of life from {job.host} for {self._timing.lease:.0f} s.")

    def _press_stop(self, job: Job) -> None:
        """The next rung of the ladder, when its time has come: each signal is sent once."""
        waited = self._watches.unchanged_for(job.id, "stop", job.started_at)
        due = None
        for pause, signal in (
            (self._timing.flag, Signals.SIGINT),
            (self._timing.interrupt, Signals.SIGTERM),
            (self._timing.terminate, Signals.SIGKILL),
        ):
            waited -= pause
            due = signal if waited >= 0 else due
        if due is not None and job.pid and self._signalled.get(_attempt(job)) != due:
            logger.info("job %s: %s to process %d", job.id, due.name, job.pid)
            processes.send(job.pid, due)
            self._signalled[_attempt(job)] = due

    def _collect_children(self) -> None:
        """Drop children that are done with; kill those that do not exit after their job ended."""
        held = [job for job in self._jobs.active() if job.is_held]
        attempts = {_attempt(job) for job in held}
        for attempt, child in list(self._children.items()):
            if attempt in attempts:
                continue
            if child.poll() is not None:
                processes.sweep(child.pid)
                del self._children[attempt]
            elif self._watches.unchanged_for(str(child.pid), "linger", attempt) > (
                self._timing.linger
            ):
                processes.send(child.pid, Signals.SIGKILL)
        self._watches.keep({job.id for job in held} | {str(c.pid) for c in self._children.values()})
        self._signalled = {key: sent for key, sent in self._signalled.items() if key in attempts}

    def _with_log(self, job: Job, message: str) -> str:
        line = last_line(self._jobs.folder(job.id) / "log.txt")
        return f"{message} Its last words: {line}" if line else message


def _attempt(job: Job) -> Attempt:
    return job.id, job.started_at


def _signal_name(number: int) -> str:
    return Signals(number).name if number in set(Signals) else f"signal {number}"
