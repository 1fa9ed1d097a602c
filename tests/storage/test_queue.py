import os
from collections.abc import Callable
from typing import Any

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
    assert (again.attempt, again.step) == (2, 4)
    assert [event.level for event in Metrics(db).events(job.id)] == ["warning", "info"]


def killed(jobs: Jobs, queue: Queue, **reached: Any) -> Job:
    """An attempt that takes the queued job, gets as far as `reached`, and is killed."""
    taken = claimed(queue)
    jobs.start(taken.id)
    jobs.heartbeat(taken.id, **reached)
    queue.interrupt(taken, "Gone.")
    queue.requeue_interrupted()
    return jobs.get(taken.id)


def sampling(done: int) -> dict[str, Any]:
    return {"phase": "sampling", "phase_done": done, "phase_total": 512}


def at_end(phase: str, done: int) -> dict[str, Any]:
    """After the last of ten steps."""
    return {"step": 10, "phase": phase, "phase_done": done, "phase_total": 32}


@pytest.mark.parametrize(
    "places",
    [
        [sampling(done) for done in (64, 128, 192, 256)],
        [sampling(512), {"phase": "training"}, {"step": 1, "phase": "training"}],
        [at_end("elimination", done) for done in (0, 5, 31)] + [at_end("measuring", 0)],
        [{"step": step} for step in range(1, 9)],
        [{"step": 64 * i, "phase": "answering", "phase_done": 64 * i} for i in range(1, 6)],
    ],
    ids=["sampling", "into training", "elimination", "many steps", "evaluation"],
)
def test_as_often_as_it_gets_further_it_is_queued_again(
    jobs: Jobs, job: Job, queue: Queue, places: list[dict[str, Any]]
) -> None:
    ends = [killed(jobs, queue, **place) for place in places]

    assert [end.state for end in ends] == ["queued"] * len(places)
    assert ends[-1].attempt == len(places)


@pytest.mark.parametrize(
    "place",
    [{}, sampling(64), {"step": 4}, at_end("elimination", 7), at_end("measuring", 0)],
    ids=["nowhere", "sampling", "training", "elimination", "measuring"],
)
def test_where_three_attempts_end_the_job_fails(
    jobs: Jobs, job: Job, queue: Queue, db: Database, place: dict[str, Any]
) -> None:
    ends = [killed(jobs, queue, **place) for _ in range(3)]

    assert [end.state for end in ends] == ["queued", "queued", "failed"]
    assert ends[-1].message.startswith("Gone. It got no further in 3 attempts")
    told = [event.text for event in Metrics(db).events(job.id) if "again after" in event.text]
    assert "though" in told[-1]


def test_in_phases_that_are_not_in_order_only_steps_count(
    jobs: Jobs, job: Job, queue: Queue
) -> None:
    places = [{"step": 4, "phase": "ranking", "phase_done": done} for done in (1, 2, 3)]

    states = [killed(jobs, queue, **place).state for place in places]
    assert states == ["queued", "queued", "failed"]


def test_between_checkpoint_and_furthest_step_two_more_may_die(
    jobs: Jobs, job: Job, queue: Queue
) -> None:
    states = []
    for step in (9, 8, 9):  # the checkpoint is that of step 7
        taken = claimed(queue)
        jobs.start(job.id)
        jobs.heartbeat(job.id, step=7, phase="training", phase_done=7)  # `resumed` lowers it
        jobs.heartbeat(job.id, step=step, phase_done=step)
        queue.interrupt(taken, "Gone.")
        queue.requeue_interrupted()
        states.append(jobs.get(job.id).state)

    assert states == ["queued", "queued", "failed"]


def test_progress_begins_the_count_anew(jobs: Jobs, job: Job, queue: Queue) -> None:
    states = [killed(jobs, queue, step=step).state for step in (4, 4, 5, 5, 4)]

    assert states == [*["queued"] * 4, "failed"]


def test_a_job_that_goes_on_by_hand_has_all_its_attempts(
    jobs: Jobs, job: Job, queue: Queue
) -> None:
    for step in (4, 5, 5, 5):
        killed(jobs, queue, step=step)
    assert jobs.get(job.id).state == "failed"

    resumed = jobs.resume(job.id)
    assert (resumed.attempt, resumed.max_attempts) == (0, 3)
    states = [killed(jobs, queue, step=5).state for _ in range(3)]
    assert states == ["queued", "queued", "failed"]


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
