import os
from collections.abc import Callable

import pytest

from storage.database import Database
from storage.jobs import Job, Jobs
from storage.metrics import Metrics
from storage.processes import identify
from storage.queue import Queue


@pytest.fixture
def queue(db: Database) -> Queue:
    return Queue(db)


def claimed(queue: Queue) -> Job:
    job = queue.claim("supervisor")
    assert job is not None
    return job


def test_jobs_are_claimed_by_priority_then_age(jobs: Jobs, queue: Queue) -> None:
    first, second = jobs.create("train", {}), jobs.create("train", {})
    urgent = jobs.create("train", {}, priority=5)

    assert [claimed(queue).id for _ in range(3)] == [urgent.id, first.id, second.id]
    assert queue.claim("supervisor") is None


def test_a_claimed_job_is_starting_under_a_lease(job: Job, queue: Queue) -> None:
    taken = claimed(queue)

    assert (taken.id, taken.state, taken.attempt) == (job.id, "starting", 1)
    assert taken.worker_id == "supervisor"
    assert taken.lease_until is not None
    assert taken.pid is None


def test_slots_count_whoever_holds_a_job(jobs: Jobs, queue: Queue) -> None:
    jobs.create("train", {}, claimed_by=os.getpid())
    waiting = jobs.create("train", {})

    assert queue.claim("supervisor", slots=1) is None
    job = queue.claim("supervisor", slots=2)
    assert job is not None
    assert job.id == waiting.id


def test_the_process_is_recorded_unless_the_worker_was_faster(
    jobs: Jobs, job: Job, queue: Queue
) -> None:
    taken = claimed(queue)
    queue.record_process(taken, identify(os.getpid()))
    assert jobs.get(job.id).pid == os.getpid()

    queue.record_process(taken, identify(os.getppid()))
    assert jobs.get(job.id).pid == os.getpid()


def test_an_interrupted_job_with_progress_is_queued_again(
    jobs: Jobs, job: Job, queue: Queue, db: Database
) -> None:
    taken = claimed(queue)
    jobs.start(job.id)
    jobs.heartbeat(job.id, step=4)

    queue.interrupt(taken, "The worker process is gone.", -9)
    interrupted = jobs.get(job.id)
    assert (interrupted.state, interrupted.exit_code) == ("interrupted", -9)
    assert interrupted.process is None

    assert [again.state for again in queue.requeue_interrupted()] == ["queued"]
    again = claimed(queue)
    assert (again.attempt, again.progress_at_claim) == (2, 4)
    assert [event.level for event in Metrics(db).events(job.id)] == ["warning", "info"]


def test_without_progress_it_fails(jobs: Jobs, job: Job, queue: Queue) -> None:
    for step in (4, 3):  # the second attempt goes on from a checkpoint and gets less far
        taken = claimed(queue)
        jobs.start(job.id)
        jobs.heartbeat(job.id, step=step)
        queue.interrupt(taken, "Gone.")
        queue.requeue_interrupted()

    ended = jobs.get(job.id)
    assert (ended.state, ended.attempt) == ("failed", 2)
    assert ended.message.startswith("Gone. It got no further")


def test_attempts_run_out(jobs: Jobs, job: Job, queue: Queue) -> None:
    for step in (1, 2, 3):
        taken = claimed(queue)
        jobs.start(job.id)
        jobs.heartbeat(job.id, step=step)
        queue.interrupt(taken, "Gone.")
        queue.requeue_interrupted()

    ended = jobs.get(job.id)
    assert (ended.state, ended.attempt) == ("failed", 3)
    assert "attempt 3 of 3" in ended.message


@pytest.mark.parametrize(
    "lose",
    [
        lambda queue, job: queue.interrupt(job, "Gone."),
        lambda queue, job: queue.give_up(job, "Gone."),
        lambda queue, job: queue.put_back(job),
    ],
)
def test_a_job_told_to_stop_is_cancelled_however_it_is_lost(
    jobs: Jobs, job: Job, queue: Queue, lose: Callable[[Queue, Job], None]
) -> None:
    claimed(queue)
    jobs.request_stop(job.id)

    lose(queue, jobs.get(job.id))

    ended = jobs.get(job.id)
    assert (ended.state, ended.message[:8]) == ("cancelled", "Stopped.")


def test_a_worker_that_finished_meanwhile_keeps_its_end(jobs: Jobs, job: Job, queue: Queue) -> None:
    seen = claimed(queue)
    jobs.start(job.id)
    done = jobs.finish(job.id, "done", "Learned.")

    queue.give_up(seen, "The worker exited without a result.", 0)
    queue.interrupt(seen, "Gone.")
    queue.put_back(seen)

    assert jobs.get(job.id) == done


def test_an_older_look_does_not_touch_the_next_attempt(jobs: Jobs, job: Job, queue: Queue) -> None:
    seen = claimed(queue)
    jobs.start(job.id)
    jobs.request_stop(job.id)
    jobs.finish(job.id, "cancelled")
    jobs.resume(job.id)
    now = claimed(queue)
    assert now.attempt == seen.attempt

    queue.interrupt(seen, "Gone.")

    assert jobs.get(job.id) == now


def test_a_claim_that_never_got_a_process_does_not_count(
    jobs: Jobs, job: Job, queue: Queue
) -> None:
    queue.put_back(claimed(queue))

    assert (jobs.get(job.id).state, jobs.get(job.id).attempt) == ("queued", 0)
