"""One job as it was when it was read; `storage.jobs.Jobs` reads and changes them."""

from dataclasses import dataclass
from typing import Any

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
    max_attempts: int
    worker_id: str | None
    pid: int | None
    pid_start_time: float | None
    host: str | None
    boot_id: str | None
    lease_until: float | None
    heartbeat_at: float | None
    step: int
    total_steps: int
    progress_at_claim: int  # the step when the last worker took it
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
