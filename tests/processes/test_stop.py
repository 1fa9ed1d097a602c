"""Stop always ends in a terminal state, whatever the worker does."""

import os
import signal

from storage.processes import start_time
from tests.processes.stage import Stage


def test_stop_while_queued(stage: Stage) -> None:
    job = stage.job()

    assert stage.jobs.request_stop(job.id).state == "cancelled"
    stage.supervisor(idle=0.1).wait(timeout=15)

    assert stage.jobs.get(job.id).state == "cancelled"
    assert stage.runs(job) == []


def test_stop_while_running_pressed_twice_keeps_the_checkpoint_for_resume(busy: Stage) -> None:
    job = busy.job(steps=40)
    busy.until_step(job, 2)

    assert busy.jobs.request_stop(job.id).state == "stopping"
    assert busy.jobs.request_stop(job.id).state in ("stopping", "cancelled")
    stopped = busy.until_ended(job)
    assert (stopped.state, stopped.exit_code) == ("cancelled", 0)
    assert stopped.message == f"Stopped at step {stopped.step}."

    busy.jobs.resume(job.id)
    ended = busy.until_ended(job)
    assert (ended.state, ended.step) == ("done", 40)
    assert len(busy.runs(job)) == 2


def test_a_worker_that_hears_nothing_is_killed(busy: Stage) -> None:
    job = busy.job(steps=1000, behaviour="deaf")
    running = busy.until_step(job, 1)
    assert running.pid is not None

    busy.jobs.request_stop(job.id)
    ended = busy.until_ended(job)

    assert (ended.state, ended.exit_code) == ("cancelled", -signal.SIGKILL)
    assert start_time(running.pid) is None


def test_stop_on_a_dead_worker(stage: Stage) -> None:
    job = stage.job(steps=1000)
    supervisor = stage.supervisor()
    running = stage.until_step(job, 1)
    assert running.pid is not None
    supervisor.kill()
    supervisor.wait()
    os.kill(running.pid, signal.SIGKILL)

    assert stage.jobs.request_stop(job.id).state == "stopping"
    assert stage.jobs.request_stop(job.id).state == "stopping"
    stage.supervisor()

    assert stage.until_ended(job).state == "cancelled"
    assert len(stage.runs(job)) == 1
