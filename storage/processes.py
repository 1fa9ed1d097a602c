"""Which process is which, and whether it lives. Knows the operating system, not the database.

A pid alone names nothing for long: it is used again after the process ended. Pid, start time,
boot and host together name one process for ever.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from storage.errors import StorageError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SAME_START_S = 1.0


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one boot of one machine."""

    pid: int
    start_time: float  # seconds since boot on Linux, since 1970 elsewhere
    host: str
    boot_id: str  # empty where the system has none

    def whereabouts(self) -> Literal["alive", "gone", "elsewhere"]:
        """Is it alive? "elsewhere": on another machine, so nobody here can tell."""
        if self.host != host():
            return "elsewhere"
        if self.boot_id != boot_id():
            return "gone"
        started = start_time(self.pid)
        same = started is not None and abs(started - self.start_time) < _SAME_START_S
        return "alive" if same else "gone"


def identify(pid: int) -> ProcessIdentity:
    """The identity of a living process of this machine.

    Raises:
        StorageError: there is no such process.
    """
    started = start_time(pid)
    if started is None:
        raise StorageError(f"There is no process {pid} on this machine.")
    return ProcessIdentity(pid, started, host(), boot_id())


def start_time(pid: int) -> float | None:
    """When a process started, None when it ended (a zombie has ended)."""
    if sys.platform == "linux":
        # Not psutil's: that is counted from the wall clock, and moves when the clock is set.
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else int(fields[19]) / os.sysconf("SC_CLK_TCK")
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


@functools.cache
def boot_id() -> str:
    """Changes with every start of the machine; empty where the system does not tell."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


@functools.cache
def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def group(pid: int) -> int:
    """The process group of a living process: the pid of its leader."""
    return pid if sys.platform == "win32" else os.getpgid(pid)


def parent(pid: int) -> int | None:
    """The pid of the process that started a living one; None if nobody is left of it."""
    try:
        return int(psutil.Process(pid).ppid())
    except psutil.NoSuchProcess:
        return None


def send(pid: int, sig: signal.Signals) -> None:
    """Signal a process; a leader of a process group with its whole group."""
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        elif os.getpgid(pid) == pid:
            os.killpg(pid, sig)
        else:
            os.kill(pid, sig)


def sweep(pid: int) -> None:
    """Kill what is left of the group of a leader that has ended."""
    if sys.platform == "win32" or pid <= 1 or pid == os.getpgrp() or start_time(pid) is not None:
        return
    # While a group has members its number is not given to a new process, so these are ours.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
