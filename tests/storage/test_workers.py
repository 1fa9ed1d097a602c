"""One look at a time, on rows as accidents leave them. Real processes: see tests/processes."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from sqlalchemy import update

from storage import processes
from storage.database import Database
from storage.jobs import BEAT_S, LEASE_S, Job, Jobs
from storage.metrics import Metrics
from storage.processes import start_time
from storage.queue import Queue
from storage.schema import JobTable
from storage.watches import Stopwatches
from storage.workers import Timing, Workers


def workers(db: Database, *, script: str = "", **timing: float) -> Workers:
    times = {"lease": 60.0, "start": 60.0, **timing}
    command = [sys.executable, "-c", script]
    return Workers(db, command=lambda _: command, timing=Timing(**times), slots=1)


def change(db: Database, job: Job, **values: Any) -> None:
    with db.write() as session:
        session.execute(update(JobTable).where(JobTable.id == job.id).values(**values))


@pytest.fixture
def running(jobs: Jobs, job: Job) -> Job:
    """A job held by this process, which got as far as step 3. It has one attempt only."""
    jobs.start(job.id)
    jobs.heartbeat(job.id, step=3)
    return jobs.get(job.id)


def test_a_living_worker_is_left_alone(db: Database, jobs: Jobs, running: Job) -> None:
    assert workers(db).tick() is True
    assert jobs.get(running.id) == running


@pytest.mark.parametrize(
    "accident",
    [
        {"boot_id": "the boot before the power cut"},
        {"pid_start_time": 1.0},  # the pid was given to another process: this one
        {"pid": 999_999_999},
    ],
)
def test_a_worker_lost_in_an_accident_is_noticed_at_once(
    db: Database, jobs: Jobs, running: Job, accident: dict[str, Any]
) -> None:
    change(db, running, step=0, max_attempts=1, **accident)

    assert workers(db).tick() is False

    ended = jobs.get(running.id)
    assert ended.state == "failed"
    assert "The worker process is gone." in ended.message
    assert start_time(os.getpid()) is not None  # whoever has the pid now was not touched


def test_a_worker_of_another_machine_is_given_its_lease(
    db: Database, jobs: Jobs, running: Job
) -> None:
    change(db, running, step=0, max_attempts=1, host="another machine")
    watch = workers(db, lease=0.05)

    watch.tick()
    assert jobs.get(running.id).state == "running"

    time.sleep(0.1)
    watch.tick()
    assert "No sign of life from another machine" in jobs.get(running.id).message


def test_after_a_reboot_a_job_goes_on_at_once(db: Database, jobs: Jobs, running: Job) -> None:
    change(db, running, boot_id="the boot before the power cut")
    watch = workers(db, script="raise SystemExit(3)", lease=3600)

    watch.tick()

    again = jobs.get(running.id)
    assert (again.state, again.attempt, again.step) == ("starting", 2, 3)
    told = [event.text for event in Metrics(db).events(running.id)]
    assert told == ["The worker process is gone.", "Queued again after step 3."]
    watch.run(once=True)


def test_setting_the_clock_kills_nobody(db: Database, jobs: Jobs, running: Job) -> None:
    change(db, running, heartbeat_at=1.0, lease_until=2.0)

    watch = workers(db)
    watch.tick()
    watch.tick()

    assert jobs.get(running.id).state == "running"


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_jump_of_the_clock_is_noticed_and_harms_nothing(
    db: Database, jobs: Jobs, running: Job, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    watch = workers(db)
    watch.tick()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)
    watch.tick()
    watch.tick()

    assert jobs.get(running.id).state == "running"
    told = [event.text for event in Metrics(db).events(running.id)]
    assert [text for text in told if "clock" in text] == [
        f"The computer's clock was moved by {seconds} s, or it slept. The job goes on."
    ]


def test_a_claim_without_a_process_is_put_back(db: Database, jobs: Jobs, job: Job) -> None:
    Queue(db).claim("a supervisor that was killed just then")
    watch = workers(db, lease=0.05, script="raise SystemExit(3)")

    watch.tick()
    assert jobs.get(job.id).state == "starting"

    time.sleep(0.1)
    watch.tick()
    assert jobs.get(job.id).state == "starting"
    assert jobs.get(job.id).worker_id == f"{processes.host()}:{os.getpid()}"
    watch.run(once=True)
    assert "exited with code 3" in jobs.get(job.id).message


def test_a_command_that_cannot_be_started_fails_the_job(db: Database, jobs: Jobs, job: Job) -> None:
    watch = Workers(db, command=lambda _: ["/no/such/program"])

    assert watch.tick() is False
    assert "could not be started" in jobs.get(job.id).message


def test_a_process_that_stays_after_its_job_ended_is_killed(
    db: Database, jobs: Jobs, job: Job
) -> None:
    script = f"""
import sys, time
from pathlib import Path
from storage.database import open_database
from storage.jobs import Jobs
jobs = Jobs(open_database())
jobs.start({job.id!r})
jobs.finish({job.id!r}, "done")
time.sleep(60)
"""
    watch = workers(db, script=script, linger=0.1, poll=0.02)

    watch.run(once=True)  # returns when no child is left

    ended = jobs.get(job.id)
    assert ended.state == "done"
    assert ended.pid is not None
    assert start_time(ended.pid) is None


def test_a_failing_look_is_tried_again(
    db: Database, jobs: Jobs, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    with db.write() as session:
        session.connection().exec_driver_sql("ALTER TABLE jobs RENAME TO gone")
    watch = workers(db, poll=0.01, idle=0.05)

    watch.run()

    told = [line for line in caplog.messages if "A look at the jobs failed" in line]
    assert len(told) == 1  # of several looks, two a second: the log must not grow without end


def test_a_stopwatch_begins_anew_with_every_value() -> None:
    watches = Stopwatches()
    assert watches.unchanged_for("job", "heartbeat", 1.0) == 0
    time.sleep(0.02)
    assert watches.unchanged_for("job", "heartbeat", 1.0) >= 0.02
    assert watches.unchanged_for("job", "heartbeat", 2.0) == 0

    time.sleep(0.02)
    watches.keep({"another"})
    assert watches.unchanged_for("job", "heartbeat", 2.0) == 0


def test_a_job_run_by_hand_is_stopped_by_a_signal(db: Database, jobs: Jobs, job: Job) -> None:
    # Deaf to SIGINT from the start, where the tests themselves were started in the background.
    program = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        jobs.start(job.id, pid=process.pid)
        jobs.request_stop(job.id)
        watch = workers(db, flag=0, interrupt=60, poll=0.02)
        watch.tick()
        process.wait(timeout=10)
    watch.run(once=True)

    assert jobs.get(job.id).state == "cancelled"


def test_each_signal_is_sent_once(db: Database, jobs: Jobs, job: Job) -> None:
    """A worker that ends its step in peace must not be interrupted at every look."""
    program = (
        "import signal, sys, time; "
        "signal.signal(signal.SIGINT, lambda *_: print('asked', flush=True)); "
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0)); "
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        jobs.start(job.id, pid=process.pid)
        jobs.request_stop(job.id)
        watch = workers(db, flag=0, interrupt=60)
        watch.tick()
        assert process.stdout.readline() == b"asked\n"
        for _ in range(3):
            watch.tick()
        process.send_signal(signal.SIGUSR1)  # its handler runs after that of SIGINT
        assert process.stdout.read() == b""


def test_a_stop_ends_any_worker_within_a_minute() -> None:
    """The waits of every other test are shorter than those that people get: these are theirs."""
    timing = Timing()
    ladder = timing.flag + timing.interrupt + timing.terminate
    # Each rung, and the end, may be seen one look late.
    assert ladder + 4 * timing.poll <= 60
    assert min(timing.flag, timing.interrupt, timing.terminate) > timing.poll


def test_a_lost_worker_is_noticed_within_the_lease() -> None:
    assert Timing().lease == LEASE_S
    assert LEASE_S >= 3 * BEAT_S, "a worker may be late twice without losing its job"
    assert LEASE_S + Timing().poll <= 35
