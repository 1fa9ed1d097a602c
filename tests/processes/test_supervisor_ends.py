"""The supervisor may die, be started twice, or have nothing to do."""

import subprocess
import sys

import psutil
import pytest

from storage.launching import ROOT
from storage.processes import start_time
from storage.supervisor import ensure_running, is_running
from tests.processes.stage import Stage, kill, options, supervisors, wait_for


def test_a_new_supervisor_adopts_the_running_worker(stage: Stage) -> None:
    job = stage.job(steps=30, pause=0.05)
    first = stage.supervisor()
    before = stage.until_step(job, 2)

    kill(first)
    orphan = stage.until_step(job, before.step + 1)
    stage.supervisor()
    ended = stage.until_ended(job)

    assert orphan.pid == before.pid
    assert (ended.state, ended.attempt, ended.step) == ("done", 1, 30)
    assert stage.runs(job) == [before.pid]


@pytest.mark.slow
def test_a_new_supervisor_stops_an_adopted_worker(stage: Stage) -> None:
    job = stage.job(steps=1000, behaviour="deaf")
    first = stage.supervisor()
    running = stage.until_step(job, 1)
    kill(first)

    stage.jobs.request_stop(job.id)
    stage.supervisor()
    ended = stage.until_ended(job)

    assert ended.state == "cancelled"
    assert running.pid is not None
    assert start_time(running.pid) is None


@pytest.mark.slow
def test_a_worker_that_died_with_its_supervisor_is_replaced(stage: Stage) -> None:
    job = stage.job(steps=20, pause=0.05)
    first = stage.supervisor()
    running = stage.until_step(job, 2)
    assert running.pid is not None

    kill(first)
    psutil.Process(running.pid).kill()
    stage.supervisor()
    ended = stage.until_ended(job)

    assert (ended.state, ended.attempt) == ("done", 2)
    assert len(stage.runs(job)) == 2


def test_two_at_once_start_one_supervisor(stage: Stage) -> None:
    call = "import sys; from pathlib import Path; from storage.supervisor import ensure_running;"
    call += " ensure_running(Path(sys.argv[1]), options=sys.argv[2:])"
    command = [sys.executable, "-c", call, str(stage.folder), *options()]

    callers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    try:
        assert [caller.wait() for caller in callers] == [0, 0]
        wait_for(lambda: is_running(stage.folder) and len(supervisors(stage.folder)) == 1)

        ensure_running(stage.folder)  # one lives: nothing is started
        assert len(supervisors(stage.folder)) == 1
    finally:
        for supervisor in supervisors(stage.folder):
            supervisor.kill()
    wait_for(lambda: not is_running(stage.folder))  # the system has freed the lock


def test_an_idle_supervisor_exits_but_not_while_a_worker_runs(stage: Stage) -> None:
    job = stage.job(steps=10, pause=0.05)
    supervisor = stage.supervisor(idle=0.2)

    assert supervisor.wait(timeout=30) == 0
    assert stage.jobs.get(job.id).state == "done"
