"""However a worker ends, its job ends too, or is run again: once."""

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from storage.jobs import Job
from storage.metrics import Metrics
from tests.processes.stage import Stage


def test_a_job_runs_to_its_end(busy: Stage) -> None:
    job = busy.job(steps=5)

    ended = busy.until_ended(job)

    assert (ended.state, ended.step, ended.attempt, ended.message) == ("done", 5, 1, "Counted.")
    assert busy.runs(job) == [ended.pid]
    assert "the worker is at work" in (busy.jobs.folder(job.id) / "log.txt").read_text()
    assert [step for step, _ in Metrics(busy.db).series(job.id)["reward"]] == [1, 2, 3, 4, 5]


def test_jobs_run_one_at_a_time_in_order(busy: Stage) -> None:
    jobs = [busy.job(steps=2) for _ in range(2)]

    ended = [busy.until_ended(job) for job in jobs]

    assert [job.state for job in ended] == ["done"] * 2
    for earlier, later in pairwise(ended):
        assert (earlier.ended_at or 0) <= (later.started_at or 0)


def test_a_killed_worker_is_replaced_once(busy: Stage) -> None:
    job = busy.job(steps=20, pause=0.05)
    running = busy.until_step(job, 3)
    assert running.pid is not None

    os.kill(running.pid, signal.SIGKILL)
    ended = busy.until_ended(job)

    assert (ended.state, ended.attempt, ended.step) == ("done", 2, 20)
    assert len(busy.runs(job)) == 2
    told = [event.text for event in Metrics(busy.db).events(job.id)]
    assert any("SIGKILL" in text for text in told)
    steps = [step for step, _ in Metrics(busy.db).series(job.id)["reward"]]
    assert steps == list(range(1, 21))
    assert busy.db.check() == []


@pytest.mark.slow
def test_kills_at_any_moment_lose_and_repeat_nothing(busy: Stage) -> None:
    chance = random.Random(0)
    for _ in range(5):
        job = busy.job(steps=40)
        running = busy.until_step(job, 1)
        assert running.pid is not None

        time.sleep(chance.uniform(0, 0.3))
        os.kill(running.pid, signal.SIGKILL)
        ended = busy.until_ended(job)

        assert (ended.state, ended.step) == ("done", 40), ended
        assert [n for n, _ in Metrics(busy.db).series(job.id)["reward"]] == list(range(1, 41))
        assert len(busy.runs(job)) == ended.attempt == 2
    assert busy.db.check() == []


@pytest.mark.slow
def test_a_silent_worker_is_killed_before_it_is_replaced(stage: Stage) -> None:
    job = stage.job(steps=15, pause=0.1)
    stage.supervisor(lease=1.5)
    running = stage.until_step(job, 3)
    assert running.pid is not None

    os.kill(running.pid, signal.SIGSTOP)
    ended = stage.until_ended(job)

    assert (ended.state, ended.attempt) == ("done", 2)
    assert stage.runs(job) == [running.pid, ended.pid]


def test_a_worker_that_keeps_dying_without_progress_is_given_up(busy: Stage) -> None:
    job = busy.job(steps=30, pause=5)
    for attempt in (1, 2, 3):
        running = busy.until(job, taken_as(attempt))
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
    ended = busy.until_ended(job)

    assert (ended.state, ended.attempt) == ("failed", 3)
    assert "no further in 3 attempts" in ended.message
    assert "the worker is at work" in ended.message


def taken_as(attempt: int) -> Callable[[Job], bool]:
    return lambda now: now.state == "running" and now.attempt == attempt


def test_exit_code_0_without_a_result_is_a_failure(busy: Stage) -> None:
    job = busy.job(behaviour="wordless")

    ended = busy.until_ended(job)

    assert (ended.state, ended.exit_code) == ("failed", 0)
    assert "exited without a result" in ended.message


def test_an_exception_is_told_by_its_last_line(busy: Stage) -> None:
    job = busy.job(behaviour="raises")

    ended = busy.until_ended(job)

    assert (ended.state, ended.exit_code, ended.attempt) == ("failed", 1, 1)
    assert "RuntimeError: the gates are on fire" in ended.message
