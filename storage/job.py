"""One job as it was when it was read; `storage.jobs.Jobs` reads and changes them."""

import time
from dataclasses import dataclass
from typing import Any

from storage import processes
from storage.processes import ProcessIdentity
from storage.transitions import HELD, TERMINAL


@dataclass(frozen=True)
class Job:
    """One job as it was when it was read. Times are seconds since 1970."""

    id: str
    kind: str
    title: str
    params: dict[str, Any]
    model: str
    state: str
    stop_requested: bool
    priority: int  # higher goes first
    attempt: int  # how often a worker took it since a person last pressed Start or Resume
    max_attempts: int  # the attempt after which it is given up; progress moves it on
    worker_id: str | None
    pid: int | None
    pid_start_time: float | None
    host: str | None
    boot_id: str | None
    lease_until: float | None
    heartbeat_at: float | None
    step: int
    total_steps: int
    progress_at_claim: int  # the furthest before the last worker took it: `transitions.reached`
    message: str
    exit_code: int | None  # negative: ended by that signal
    created_at: float
    started_at: float | None  # of the last attempt
    ended_at: float | None
    resume_of: str | None
    code_version: str
    seed: int
    phase: str  # what the worker is doing now, "" before it said so
    phase_done: int
    phase_total: int  # 0: unknown
    versions: dict[str, Any]  # what the last attempt ran on: packages, machine, threads
    cloned_from: str | None  # the job whose settings were the beginning of this one's
    owner: str  # "" for the copy's own

    @property
    def is_terminal(self) -> bool:
        """Ended: nothing happens to it unless a person resumes it."""
        return self.state in TERMINAL

    @property
    def is_held(self) -> bool:
        """A process works on it, or is being started for it."""
        return self.state in HELD

    @property
    def process(self) -> ProcessIdentity | None:
        """The process that holds it, if one was recorded."""
        if self.pid is None or self.pid_start_time is None:
            return None
        return ProcessIdentity(self.pid, self.pid_start_time, self.host or "", self.boot_id or "")

    @property
    def is_alive(self) -> bool:
        """Whether its process is there, or far away within its lease."""
        if not self.is_held or self.process is None:
            return False
        found = self.process.whereabouts()
        return found == "alive" or (found == "elsewhere" and (self.lease_until or 0) > time.time())

    def is_held_by(self, pid: int) -> bool:
        """Whether ``pid``, a process of this machine, its parent or its group's leader holds it.

        A supervisor records the process it started, which may be a launcher only; launchers
        differ in whether what they start stays in their group.
        """
        holder = self.process
        if not self.is_held or holder is None:
            return False
        here = (holder.host, holder.boot_id) == (processes.host(), processes.boot_id())
        return here and holder.pid in (pid, processes.group(pid), processes.parent(pid))
