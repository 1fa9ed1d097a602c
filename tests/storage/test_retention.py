"""What is forgotten, whose, and what never is."""

import time
from typing import Any

import pytest

from storage.chats import Chats
from storage.database import Database
from storage.jobs import Jobs
from storage.limits import DAY_S
from storage.masks import Masks
from storage.retention import Forgotten, Retention
from storage.schema import ChatTable, JobTable, MaskTable, VisitorTable, VoteTable
from storage.votes import Contender, Votes

ANN, BOB = "a" * 32, "b" * 32


def keep_everything(db: Database, record: dict[str, Any], owner: str | None) -> str:
    """One of each, the job ended and with a folder; gives the job's id."""
    jobs = Jobs(db, owner)
    job = jobs.create("train", {}, total_steps=1)
    jobs.request_stop(job.id)
    (jobs.folder(job.id) / "log.txt").write_text("words")
    masks = Masks(db, owner)
    masks.save(record)
    masks.delete(masks.save(record).id)
    chat = Chats(db, owner).create("tracer", "c")
    _, answer = Chats(db, owner).add_turn(chat.id, "q", "a", {})
    Votes(db, owner).cast(answer.id, "tie", Contender(), Contender("half", 0.5))
    return job.id


def make_older(db: Database, days: float) -> None:
    columns = {
        JobTable: ("created_at", "ended_at"), MaskTable: ("created_at", "deleted_at"),
        ChatTable: ("updated_at",), VoteTable: ("created_at",), VisitorTable: ("seen_at",),
    }  # fmt: skip
    with db.write() as session:
        for table, names in columns.items():
            for row in session.query(table):
                for name in names:
                    if (at := getattr(row, name)) is not None:
                        setattr(row, name, at - days * DAY_S)


def kept(db: Database, owner: str | None) -> list[int]:
    return [
        len(one)
        for one in (
            Jobs(db, owner).list(), Masks(db, owner).list(), Masks(db, owner).deleted(),
            Chats(db, owner).list(), Votes(db, owner).tally(),
        )
    ]  # fmt: skip


def test_a_visitor_who_stays_away_is_forgotten_whole(db: Database, record: dict[str, Any]) -> None:
    job = keep_everything(db, record, ANN)
    make_older(db, 29)
    other = keep_everything(db, record, BOB)
    assert Retention(db).forget(30) == Forgotten()
    make_older(db, 2)
    gone = Retention(db).forget(30)
    assert gone == Forgotten(visitors=1, masks=1, chats=1, jobs=1, trash=1)
    assert kept(db, ANN) == [0] * 5
    assert kept(db, BOB) == [1] * 5
    assert not (db.folder / "jobs" / job).exists()
    assert (db.folder / "jobs" / other / "log.txt").exists()
    assert not Retention(db).forget(30)


def test_what_belongs_to_the_copy_stays_but_for_its_trash(
    db: Database, record: dict[str, Any]
) -> None:
    keep_everything(db, record, None)
    make_older(db, 400)
    assert Retention(db).forget(30) == Forgotten(trash=1)
    assert kept(db, None) == [1, 1, 0, 1, 1]


def test_on_an_own_machine_only_the_trash_goes(db: Database, record: dict[str, Any]) -> None:
    keep_everything(db, record, ANN)
    make_older(db, 400)
    assert Retention(db).forget(30, visitors=False) == Forgotten(trash=1)
    assert kept(db, None) == [1, 1, 0, 1, 1]


def test_whoever_looks_at_what_they_keep_keeps_it(db: Database, record: dict[str, Any]) -> None:
    keep_everything(db, record, ANN)
    make_older(db, 40)
    Retention(db).saw(ANN)
    Retention(db).saw("nobody who keeps anything")
    with db.read() as session:
        (row,) = session.query(VisitorTable)
        assert row.id == ANN
        assert row.seen_at == pytest.approx(time.time(), abs=60)
    assert Retention(db).forget(30) == Forgotten(trash=1)
    make_older(db, 29)
    assert not Retention(db).forget(30)
    make_older(db, 2)
    assert Retention(db).forget(30).visitors == 1
    with db.read() as session:
        assert session.query(VisitorTable).count() == 0


def test_whoever_made_something_lately_stays_though_seen_long_ago(
    db: Database, record: dict[str, Any]
) -> None:
    keep_everything(db, record, ANN)
    Retention(db).saw(ANN)
    make_older(db, 40)
    Chats(db, ANN).create("tracer", "new")
    assert Retention(db).forget(30) == Forgotten(trash=1)
    assert len(Chats(db, ANN).list()) == 2


def test_the_end_of_a_job_counts_as_a_visit(db: Database) -> None:
    job = Jobs(db, ANN).create("train", {}, total_steps=1)
    make_older(db, 40)
    Jobs(db, ANN).request_stop(job.id)
    assert Retention(db).forget(30) == Forgotten()
    make_older(db, 31)
    assert Retention(db).forget(30) == Forgotten(visitors=1, jobs=1)


def test_a_visitor_whose_job_is_under_way_stays(db: Database, record: dict[str, Any]) -> None:
    keep_everything(db, record, ANN)
    job = Jobs(db, ANN).create("train", {}, total_steps=1)
    make_older(db, 40)
    assert Retention(db).forget(30).visitors == 0
    Jobs(db, ANN).request_stop(job.id)
    make_older(db, 40)
    assert Retention(db).forget(30).jobs == 2
