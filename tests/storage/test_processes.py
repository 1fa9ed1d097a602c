import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from storage.errors import StorageError
from storage.processes import identify, send, start_time, sweep

FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
input()
"""


def family() -> tuple["subprocess.Popen[str]", int]:
    """A leader of a process group, and the pid of its child."""
    leader = subprocess.Popen(
        [sys.executable, "-c", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout is not None
    return leader, int(leader.stdout.readline())


def wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + 5
    while start_time(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_is_known_by_more_than_its_pid() -> None:
    me = identify(os.getpid())

    assert me.whereabouts() == "alive"
    assert identify(os.getpid()) == me
    for seconds in (-60, -2, 2):  # the pid came back
        assert replace(me, start_time=me.start_time + seconds).whereabouts() == "gone"
    assert replace(me, boot_id="another boot").whereabouts() == "gone"
    assert replace(me, host="another machine").whereabouts() == "elsewhere"


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = identify(process.pid)
        assert identity.whereabouts() == "alive"
        process.kill()
        wait_until_dead(process.pid)  # nobody has taken its exit code yet
        assert identity.whereabouts() == "gone"
        with pytest.raises(StorageError, match="no process"):
            identify(process.pid)


def test_a_leader_is_signalled_with_its_children() -> None:
    leader, child = family()
    with leader:
        send(leader.pid, signal.SIGKILL)
        wait_until_dead(child)
    send(leader.pid, signal.SIGKILL)  # gone: no error


def test_orphans_of_a_dead_leader_are_swept_away() -> None:
    leader, child = family()
    with leader:
        sweep(leader.pid)  # a living leader is left alone
        assert start_time(child) is not None
        leader.kill()
    assert start_time(child) is not None

    sweep(leader.pid)
    wait_until_dead(child)
    sweep(leader.pid)  # nothing left: no error


def test_a_group_is_only_signalled_through_its_leader() -> None:
    # A command line started by a script shares the script's group, which is not ours to kill.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        send(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
