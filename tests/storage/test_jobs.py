import os
import threading
from typing import Any

import pytest

from storage.database import Database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from storage.queue import Queue


def test_a_new_job_waits(jobs: Jobs, job: Job) -> None:
    assert (job.state, job.attempt, job.step, job.total_steps) == ("queued", 0, 0, 10)
    assert (job.title, job.params, job.model) == ("Quick", {"beta": 0.05}, "tracer")
    assert job.process is None
    assert not job.is_terminal
    assert jobs.get(job.id) == job


def test_the_same_press_of_start_gives_the_same_job(jobs: Jobs) -> None:
    first = jobs.create("train", {"a": 1}, request_key="press")

    assert jobs.create("train", {"a": 2}, request_key="press") == first
    assert jobs.create("train", {}, request_key="another").id != first.id
    assert jobs.create("train", {}).id != jobs.create("train", {}).id


def test_two_tabs_that_press_start_at_once_make_one_job(jobs: Jobs) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(jobs.create("t", {}, request_key="k").id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 8
    assert len(set(made)) == 1


def test_lists_are_newest_first_and_active_in_turn(jobs: Jobs, db: Database) -> None:
    first, second = jobs.create("train", {}), jobs.create("eval", {})
    urgent = jobs.create("train", {}, priority=1)
    running = jobs.create("train", {}, claimed_by=os.getpid())
    jobs.request_stop(second.id)

    assert [job.id for job in jobs.list()] == [running.id, urgent.id, second.id, first.id]
    assert [job.id for job in jobs.list(limit=1, kind="eval")] == [second.id]
    assert [job.id for job in jobs.active()] == [running.id, urgent.id, first.id]
    assert sorted([second.id, first.id]) == [first.id, second.id]


def test_an_unknown_job_is_told(jobs: Jobs) -> None:
    for action in (jobs.get, jobs.request_stop, jobs.resume, jobs.delete, jobs.start):
        with pytest.raises(StorageError, match="no job nobody"):
            action("nobody")


def test_stop_of_a_queued_job_is_immediate(jobs: Jobs, job: Job) -> None:
    stopped = jobs.request_stop(job.id)

    assert stopped.state == "cancelled"
    assert stopped.ended_at is not None
    assert jobs.request_stop(job.id) == stopped


def test_stop_of_a_running_job_reaches_its_worker(jobs: Jobs, job: Job) -> None:
    jobs.start(job.id)
    assert jobs.heartbeat(job.id) is False

    assert jobs.request_stop(job.id).state == "stopping"
    assert jobs.request_stop(job.id).state == "stopping"
    assert jobs.heartbeat(job.id) is True
    assert jobs.finish(job.id, "cancelled", "Saved.").state == "cancelled"


def test_stop_before_the_worker_is_there_still_reaches_it(
    jobs: Jobs, job: Job, db: Database
) -> None:
    claimed = Queue(db).claim("supervisor")
    jobs.request_stop(job.id)

    started = jobs.start(job.id)
    assert claimed is not None
    assert (started.state, started.attempt) == ("stopping", 1)
    assert started.started_at == claimed.started_at
    assert jobs.heartbeat(job.id) is True


def test_resume_puts_back_what_ended_badly(jobs: Jobs, job: Job) -> None:
    jobs.start(job.id)
    jobs.heartbeat(job.id, step=4)
    jobs.request_stop(job.id)
    jobs.finish(job.id, "cancelled")
    (jobs.folder(job.id) / "checkpoint").write_text("4")

    resumed = jobs.resume(job.id)

    assert (resumed.state, resumed.stop_requested, resumed.step) == ("queued", False, 4)
    assert (resumed.attempt, resumed.ended_at, resumed.process) == (0, None, None)
    assert jobs.resume(job.id).state == "queued"
    assert (jobs.folder(job.id) / "checkpoint").exists()
    assert jobs.start(job.id).progress_at_claim == 4 * 10**9  # `transitions.reached`


def test_a_done_job_is_not_resumed(jobs: Jobs, job: Job) -> None:
    jobs.start(job.id)
    jobs.finish(job.id, "done")

    with pytest.raises(StorageError, match="is done"):
        jobs.resume(job.id)
    with pytest.raises(StorageError, match="is done"):
        jobs.start(job.id)


def test_only_an_ended_job_is_deleted_with_all_it_said(
    jobs: Jobs, job: Job, db: Database, record: dict[str, Any]
) -> None:
    jobs.start(job.id)
    Metrics(db).log(job.id, 1, {"reward": 0.5})
    folder = jobs.folder(job.id)
    with pytest.raises(StorageError, match="Stop it before"):
        jobs.delete(job.id)

    jobs.finish(job.id, "done", mask=record)
    jobs.delete(job.id)

    assert not folder.exists()
    assert Metrics(db).series(job.id) == {}
    assert [mask.job_id for mask in Masks(db).list()] == [None]
    assert db.check() == []


def test_the_folder_of_a_job_lies_in_the_data_folder(jobs: Jobs, job: Job, db: Database) -> None:
    assert jobs.folder(job.id) == db.folder / "jobs" / job.id
    assert jobs.folder(job.id).is_dir()
    with pytest.raises(StorageError, match="not the id"):
        jobs.folder("../../etc")
