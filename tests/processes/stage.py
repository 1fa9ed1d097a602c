"""A data folder with real supervisors and workers, quick enough for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.launching import ROOT
from storage.processes import start_time

WORKER = f"{sys.executable} -m tests.processes.small_worker {{job}}"
QUICK = {
    "poll": 0.05,
    "lease": 3.0,
    "flag": 1.2,
    "interrupt": 0.3,
    "terminate": 0.3,
    "linger": 1.0,
    "idle": 60.0,
}


def options(**timing: float) -> list[str]:
    """Command line options of a quick supervisor with the small worker."""
    times = QUICK | timing
    return ["--worker", WORKER, *(f"--{name}={seconds}" for name, seconds in times.items())]


class Stage:
    """Starts supervisors, waits for jobs, and counts who ran them."""

    def __init__(self, folder: Path, db: Database) -> None:
        self.folder = folder
        self.jobs = Jobs(db)
        self.db = db
        self._supervisors: list[subprocess.Popen[bytes]] = []

    def job(self, steps: int = 5, **params: Any) -> Job:
        return self.jobs.create("train", params, total_steps=steps)

    def supervisor(self, **timing: float) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "storage.supervisor", "--data-dir", str(self.folder)]
        with (self.folder / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *options(**timing)], cwd=ROOT, stdout=log, stderr=log
            )
        self._supervisors.append(process)
        return process

    def until(self, job: Job, reached: Callable[[Job], bool], seconds: float = 20.0) -> Job:
        deadline = time.monotonic() + seconds
        while not reached(now := self.jobs.get(job.id)):
            if time.monotonic() > deadline:
                log = (self.folder / "supervisor.log").read_text()
                raise AssertionError(f"still {now}\n{log}")
            time.sleep(0.02)
        return now

    def until_step(self, job: Job, step: int) -> Job:
        """Wait until the job is that far, or has ended: then the test was too slow, and trips."""
        return self.until(job, lambda now: now.is_terminal or now.step >= step)

    def until_ended(self, job: Job) -> Job:
        return self.until(job, lambda now: now.is_terminal)

    def runs(self, job: Job) -> list[int]:
        """The pids of all processes that ever took the job."""
        lines = self.jobs.folder(job.id) / "runs.txt"
        return [int(pid) for pid in lines.read_text().split()] if lines.exists() else []

    def close(self) -> None:
        for supervisor in self._supervisors:
            kill(supervisor)
        for job in self.jobs.active():
            if job.pid and job.pid != os.getpid() and start_time(job.pid) is not None:
                os.kill(job.pid, signal.SIGKILL)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """kill -9, and wait for it."""
    process.kill()
    process.wait()


def supervisors(folder: Path) -> list[psutil.Process]:
    """All supervisors of a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"storage.supervisor", str(folder)} <= set(process.info["cmdline"] or [])
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something is true; fail when it takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    db = open_database(folder)
    stage = Stage(folder, db)
    try:
        yield stage
    finally:
        stage.close()
        db.close()
