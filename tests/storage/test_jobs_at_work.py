"""Jobs as their workers see them: taking one, telling how it goes, ending it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from storage.database import Database, open_database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from storage.queue import Queue


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a living process that is not ours."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    yield process.pid
    process.kill()
    process.communicate()


def texts(db: Database, job: Job) -> list[str]:
    return [event.text for event in Metrics(db).events(job.id)]


def test_the_command_line_runs_its_own_job(jobs: Jobs, db: Database) -> None:
    job = jobs.create("train", {}, claimed_by=os.getpid())

    assert (job.state, job.attempt, job.pid) == ("running", 1, os.getpid())
    assert Queue(db).claim("supervisor") is None
    assert jobs.start(job.id).attempt == 1


def test_start_takes_a_claimed_job_without_a_new_attempt(
    jobs: Jobs, job: Job, db: Database
) -> None:
    Queue(db).claim("supervisor")

    started = jobs.start(job.id)

    assert (started.state, started.attempt, started.pid) == ("running", 1, os.getpid())
    assert started.process is not None
    assert started.process.whereabouts() == "alive"
    assert started.worker_id == "supervisor"


def test_a_job_held_by_a_living_process_is_refused(jobs: Jobs, job: Job, stranger: int) -> None:
    jobs.start(job.id, pid=stranger)

    with pytest.raises(StorageError, match=f"already run by process {stranger}"):
        jobs.start(job.id)
    assert jobs.heartbeat(job.id, step=9) is True  # not ours: stop, and touch nothing
    assert jobs.get(job.id).step == 0
    with pytest.raises(StorageError, match="not held by this process"):
        jobs.finish(job.id, "done")


def test_a_job_of_a_dead_process_may_be_taken(jobs: Jobs, job: Job) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        jobs.start(job.id, pid=process.pid)
        process.kill()

    taken = jobs.start(job.id)
    assert (taken.attempt, taken.pid) == (2, os.getpid())


def test_a_process_that_is_not_there_cannot_start(jobs: Jobs, job: Job) -> None:
    with pytest.raises(StorageError, match="no process 999999999"):
        jobs.start(job.id, pid=999_999_999)


def test_a_heartbeat_renews_the_lease_and_tells_progress(db: Database, job: Job) -> None:
    jobs = Jobs(db, lease_s=100)
    started = jobs.start(job.id)

    jobs.heartbeat(job.id, step=3, total_steps=12, message="Hardening")
    told = jobs.get(job.id)
    jobs.heartbeat(job.id)
    kept = jobs.get(job.id)

    assert (told.step, told.total_steps, told.message) == (3, 12, "Hardening")
    assert (kept.step, kept.total_steps, kept.message) == (3, 12, "Hardening")
    assert started.lease_until is not None
    assert kept.lease_until is not None
    assert kept.heartbeat_at is not None
    assert kept.lease_until == pytest.approx(kept.heartbeat_at + 100)
    assert kept.lease_until > started.lease_until


def test_a_heartbeat_tells_the_phase(db: Database, jobs: Jobs, job: Job) -> None:
    jobs.start(job.id)
    before = Metrics(db).version(job.id)
    jobs.heartbeat(job.id, phase="sampling", phase_done=128, phase_total=512)

    seen = jobs.get(job.id)
    assert (seen.phase, seen.phase_done, seen.phase_total) == ("sampling", 128, 512)
    assert Metrics(db).version(job.id) > before
    jobs.heartbeat(job.id, step=1)
    assert jobs.get(job.id).phase_done == 128


def test_every_attempt_says_what_it_runs_on(db: Database, jobs: Jobs, job: Job) -> None:
    jobs.start(job.id)
    jobs.describe(job.id, {"torch": "2.13.0", "threads": 1})
    assert jobs.get(job.id).versions == {"torch": "2.13.0", "threads": 1}
    assert not any("Goes on with" in text for text in texts(db, job))

    jobs.describe(job.id, {"torch": "2.13.0", "threads": 2})
    assert jobs.get(job.id).versions["threads"] == 2
    assert [t for t in texts(db, job) if "Goes on" in t] == ["Goes on with threads 2, was 1."]


def test_a_clone_remembers_its_origin_while_there_is_one(jobs: Jobs, job: Job) -> None:
    clone = jobs.create("train", job.params, cloned_from=job.id)
    assert clone.cloned_from == job.id
    assert jobs.create("train", {}, cloned_from="deleted").cloned_from is None

    jobs.request_stop(job.id)
    jobs.delete(job.id)
    assert jobs.get(clone.id).cloned_from is None


def test_the_end_and_the_mask_are_one_transaction(
    jobs: Jobs, job: Job, db: Database, record: dict[str, Any]
) -> None:
    jobs.start(job.id)
    with pytest.raises(StorageError, match="2 x 3"):
        jobs.finish(job.id, "done", "Learned.", record | {"kept": b"\1"})
    assert jobs.get(job.id).state == "running"

    ended = jobs.finish(job.id, "done", "Learned.", record)

    assert (ended.state, ended.message, ended.exit_code) == ("done", "Learned.", 0)
    assert ended.ended_at is not None
    assert [mask.to_record() for mask in Masks(db).list(job_id=job.id)] == [record]
    assert texts(db, job) == ["Learned."]


def test_an_end_is_final(jobs: Jobs, job: Job) -> None:
    jobs.start(job.id)
    with pytest.raises(StorageError, match="ends as one of"):
        jobs.finish(job.id, "running")
    jobs.finish(job.id, "done")

    with pytest.raises(StorageError, match="is done"):
        jobs.finish(job.id, "failed")
    assert jobs.heartbeat(job.id) is True


def test_another_connection_sees_it_at_once(jobs: Jobs, job: Job, db: Database) -> None:
    other = open_database(db.folder)
    jobs.start(job.id)

    assert Jobs(other).get(job.id).state == "running"
    other.close()
