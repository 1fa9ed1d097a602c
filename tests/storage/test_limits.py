"""How much a visitor of a shared copy may keep and start."""

from typing import Any

import pytest

from storage.chats import Chats
from storage.database import Database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.limits import Limits
from storage.masks import Masks
from storage.schema import JobTable

ANN, BOB = "a" * 32, "b" * 32
FEW = Limits(masks=2, chats=2, active_jobs=1, jobs_a_day=2)


def start(jobs: Jobs, **options: Any) -> Job:
    return jobs.create("train", {"beta": 0.05}, title="Quick", total_steps=10, **options)


def test_a_visitor_keeps_so_many_masks(db: Database, record: dict[str, Any]) -> None:
    ann = Masks(db, ANN, FEW)
    first = ann.save(record)
    ann.save(record)
    with pytest.raises(StorageError, match=r"at most 2 masks: delete one .* without limits"):
        ann.save(record)
    Masks(db, BOB, FEW).save(record)
    ann.delete(first.id)
    ann.save(record)
    with pytest.raises(StorageError, match="at most 2 masks"):
        ann.restore(first.id)
    assert len(ann.list()) == 2


def test_deleted_masks_of_a_visitor_do_not_pile_up(db: Database, record: dict[str, Any]) -> None:
    ann = Masks(db, ANN, FEW)
    keys = [ann.delete(ann.save(record).id).id for _ in range(4)]
    assert [row.id for row in ann.deleted()] == keys[:1:-1]
    home = Masks(db)
    for _ in range(4):
        home.delete(home.save(record).id)
    assert len(home.deleted()) == 6


def test_a_visitor_keeps_so_many_conversations(db: Database) -> None:
    ann = Chats(db, ANN, FEW)
    ann.require_room()
    chat, _ = (ann.create("tracer", "t") for _ in range(2))
    message = ann.add_message(chat.id, "user", "q")
    for more in (
        ann.require_room,
        lambda: ann.create("tracer", "t"),
        lambda: ann.fork(chat.id, message.id),
    ):
        with pytest.raises(StorageError, match="at most 2 conversations"):
            more()
    ann.delete(chat.id)
    ann.require_room()


def test_a_visitor_has_one_job_under_way_and_two_a_day(db: Database) -> None:
    ann = Jobs(db, ANN, FEW)
    first = start(ann, request_key="k")
    assert start(ann, request_key="k").id == first.id
    with pytest.raises(StorageError, match="at most 1 job under way"):
        start(ann)
    start(Jobs(db, BOB, FEW))
    ann.request_stop(first.id)
    second = start(ann)
    with pytest.raises(StorageError, match="at most 1 job under way"):
        ann.resume(first.id)
    ann.request_stop(second.id)
    ann.request_stop(ann.resume(first.id).id)
    with pytest.raises(StorageError, match=r"at most 2 jobs a day: .* in 24.0 hours"):
        start(ann)
    age(db, first.id, 23 * 3600)
    with pytest.raises(StorageError, match=r"in 1.0 hours"):
        start(ann)
    age(db, first.id, 2 * 3600)
    start(ann)


def test_room_is_told_for_fewer_jobs_than_were_started(db: Database) -> None:
    """The owner of the copy has lowered the number: the last but so many has to be a day old."""
    ann = Jobs(db, ANN)
    for hours in (20, 10, 5):
        job = start(ann)
        ann.request_stop(job.id)
        age(db, job.id, hours * 3600)
    with pytest.raises(StorageError, match=r"at most 2 jobs a day: .* in 14\.0 hours"):
        start(Jobs(db, ANN, FEW))


def test_no_jobs_at_all_can_be_allowed(db: Database) -> None:
    with pytest.raises(StorageError, match="at most 0 jobs a day"):
        start(Jobs(db, ANN, Limits(1, 1, 1, 0)))


def age(db: Database, job_id: str, seconds: float) -> None:
    with db.write() as session:
        session.get_one(JobTable, job_id).created_at -= seconds
