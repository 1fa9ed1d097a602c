"""What one visitor of a shared copy sees and may change, whatever they ask for by id."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from storage.chats import Chats
from storage.database import Database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from storage.samples import SampleRow, Samples
from storage.schema import MaskTable
from storage.votes import Contender, Votes

ANN, BOB = "a" * 32, "b" * 32
NOTHING = "0000000000000000"


def start(jobs: Jobs, **options: Any) -> Job:
    return jobs.create("train", {"beta": 0.05}, title="Quick", total_steps=10, **options)


def words_of(action: Callable[[str], Any], key: str) -> str:
    """How an action on an id is refused, without the id."""
    with pytest.raises(StorageError) as caught:
        action(key)
    return str(caught.value).replace(key, "?")


def same_as_missing(action: Callable[[str], Any], key: str) -> bool:
    return words_of(action, key) == words_of(action, NOTHING)


# --- jobs -----------------------------------------------------------------------------------


def test_a_job_is_its_owners_alone(db: Database) -> None:
    ann, bob = Jobs(db, ANN), Jobs(db, BOB)
    job = start(ann)
    assert (job.owner, [one.id for one in ann.list()]) == (ANN, [job.id])
    assert list(bob.list()) == list(bob.active()) == []
    for action in (bob.get, bob.request_stop, bob.resume, bob.delete, bob.folder):
        assert same_as_missing(action, job.id)
    assert ann.get(job.id).state == "queued"
    assert ann.request_stop(job.id).state == "cancelled"
    assert [one.id for one in Jobs(db).list()] == [job.id]


def test_what_belongs_to_the_copy_is_seen_and_changed_by_no_visitor(db: Database) -> None:
    own, bob = Jobs(db), Jobs(db, BOB)
    job = start(own)
    assert [one.id for one in bob.list()] == [job.id]
    for action in (bob.request_stop, bob.resume, bob.delete):
        with pytest.raises(StorageError, match="came with the public copy"):
            action(job.id)
    assert own.get(job.id).state == "queued"


def test_the_same_request_of_two_visitors_makes_two_jobs(db: Database) -> None:
    ann, bob = Jobs(db, ANN), Jobs(db, BOB)
    first = start(ann, request_key="k")
    assert start(ann, request_key="k").id == first.id
    assert start(bob, request_key="k").id != first.id
    assert start(Jobs(db), request_key="k").id != first.id


def test_settings_can_not_be_said_to_come_from_a_job_of_another(db: Database) -> None:
    job = start(Jobs(db, ANN))
    assert start(Jobs(db, BOB), cloned_from=job.id).cloned_from is None
    assert start(Jobs(db, ANN), cloned_from=job.id).cloned_from == job.id


def test_what_a_job_tells_is_read_by_its_owner(db: Database) -> None:
    job = start(Jobs(db, ANN))
    Metrics(db).log(job.id, 1, {"reward": 0.5})
    Metrics(db).add_snapshot(job.id, 1, bytes(24), 2, 3)
    Metrics(db).add_event(job.id, "info", "Hardening begins.")
    Samples(db).plan(job.id, [("a=3; ?a", "3")], [("full", {})])
    Samples(db).add(job.id, [SampleRow("full", 0, 0, "right", "end", 1, 9, 512, "3")])

    def told(owner: str | None) -> list[Any]:
        metrics, samples = Metrics(db, owner), Samples(db, owner)
        return [
            metrics.series(job.id), metrics.latest(job.id), metrics.snapshots(job.id),
            metrics.latest_snapshot(job.id), metrics.snapshot_shape(job.id),
            metrics.events(job.id), metrics.version(job.id), samples.problems(job.id),
            samples.cells(job.id), samples.known(job.id), samples.marks(job.id),
            samples.marks(job.id, ["full"]), samples.all(job.id), samples.answers(job.id, 0),
        ]  # fmt: skip

    before = told(ANN)
    assert before == told(None)
    assert all(before)
    assert not any(told(BOB))

    other = start(Jobs(db, BOB))  # nor is what it tells mixed with that of another job
    Metrics(db).log(other.id, 1, {"reward": 0.9, "loss": 2.0})
    Metrics(db).add_snapshot(other.id, 2, bytes(8), 1, 2)
    Metrics(db).add_event(other.id, "info", "Theirs.")
    Samples(db).plan(other.id, [("b=4; ?b", "4")], [("full", {}), ("far", {})])
    Samples(db).add(other.id, [SampleRow("far", 0, 1, "wrong", "end", 2, 8, 256, "9")])
    assert told(ANN) == told(None) == before


def test_the_mask_of_a_job_is_its_owners(db: Database, record: dict[str, Any]) -> None:
    job = start(Jobs(db, ANN))
    worker = Jobs(db)
    worker.start(job.id)
    worker.finish(job.id, "done", mask=record)
    (mask,) = Masks(db, ANN).list(job_id=job.id)
    assert mask.owner == ANN
    assert list(Masks(db, BOB).list()) == []


# --- masks ----------------------------------------------------------------------------------


def test_a_mask_is_its_owners_alone_also_when_deleted(db: Database, record: dict[str, Any]) -> None:
    ann, bob = Masks(db, ANN), Masks(db, BOB)
    mask = ann.save(record)
    assert list(bob.list()) == []
    for action in (bob.get, bob.delete, bob.restore, bob.forget, lambda key: bob.rename(key, "b")):
        assert same_as_missing(action, mask.id)
    ann.delete(mask.id)
    assert list(bob.deleted()) == []
    for action in (bob.get, bob.restore, bob.forget):
        assert same_as_missing(action, mask.id)
    assert ann.restore(mask.id).name == "half"


def test_a_mask_of_the_copy_is_seen_until_it_is_deleted(
    db: Database, record: dict[str, Any]
) -> None:
    own, bob = Masks(db), Masks(db, BOB)
    mask = own.save(record)
    assert bob.get(mask.id).name == "half"
    for action in (bob.delete, lambda key: bob.rename(key, "b"), bob.forget, bob.restore):
        with pytest.raises(StorageError, match="came with the public copy"):
            action(mask.id)
    own.delete(mask.id)
    for action in (bob.get, bob.restore, bob.forget):
        assert same_as_missing(action, mask.id)
    assert list(bob.deleted()) == []


def test_a_parent_or_job_of_another_is_left_out(db: Database, record: dict[str, Any]) -> None:
    parent = Masks(db, ANN).save(record)
    job = start(Jobs(db, ANN))
    ours = Masks(db, ANN).save(record, parent_id=parent.id, job_id=job.id)
    assert (ours.parent_id, ours.job_id) == (parent.id, job.id)
    theirs = Masks(db, BOB).save(record, parent_id=parent.id, job_id=job.id)
    assert (theirs.parent_id, theirs.job_id) == (None, None)
    gone = Masks(db).save(record, parent_id=NOTHING)
    assert gone.parent_id is None


# --- conversations and votes ----------------------------------------------------------------


def test_a_conversation_is_its_owners_alone(db: Database) -> None:
    ann, bob = Chats(db, ANN), Chats(db, BOB)
    chat = ann.create("tracer", "mine")
    question, answer = ann.add_turn(chat.id, "q", "a", {}, tokens=[1])
    theirs = bob.create("tracer", "theirs")
    assert [one.id for one in bob.list()] == [theirs.id]
    for asked in (chat, theirs):
        assert bob.tokens(asked.id, [answer.id]) == {}
    assert ann.tokens(chat.id, [answer.id]) == {answer.id: [1]}
    for action in (
        bob.get, bob.messages, bob.delete, lambda key: bob.rename(key, "x"),
        lambda key: bob.add_message(key, "user", "x"),
        lambda key: bob.add_turn(key, "x", "y", {}), lambda key: bob.fork(key, answer.id),
    ):  # fmt: skip
        assert same_as_missing(action, chat.id)
    missing = answer.id + 100
    for ask in (
        bob.branch, bob.open_branch, lambda key: bob.note(key, {"x": 1}),
        lambda key: bob.fork(theirs.id, key),
        lambda key: bob.add_message(theirs.id, "user", "x", after=key),
        lambda key: Votes(db, BOB).cast(key, "tie", Contender(), Contender()),
    ):  # fmt: skip
        said = []
        for key in (answer.id, missing):
            with pytest.raises(StorageError) as caught:
                ask(key)
            said.append(str(caught.value).replace(str(key), "?"))
        assert said[0] == said[1]
    assert [m.content for m in ann.get(chat.id).messages] == ["q", "a"]
    assert ann.get(chat.id).messages[1].stats == {}
    assert question.id == ann.branch(answer.id)[0].id


def test_conversations_of_the_copy_itself_are_nobodys_to_read(db: Database) -> None:
    chat = Chats(db).create("tracer", "the owner's")
    assert list(Chats(db, ANN).list()) == []
    assert same_as_missing(Chats(db, ANN).get, chat.id)


def test_votes_are_counted_for_the_voter_with_those_of_the_copy(db: Database) -> None:
    for owner in (ANN, BOB, None):
        chat = Chats(db, owner).create("tracer", "c")
        _, answer = Chats(db, owner).add_turn(chat.id, "q", "a", {})
        name = f"mask of {owner}"
        Votes(db, owner).cast(answer.id, "left", Contender(), Contender(name, 0.5))
    assert {one.contender.mask for one in Votes(db, ANN).tally()} == {
        f"mask of {ANN}", "mask of None",
    }  # fmt: skip
    assert len(Votes(db).tally()) == 3


def test_a_new_row_of_nobody_in_particular_is_the_copys_own(
    db: Database, record: dict[str, Any]
) -> None:
    key = Masks(db).save(record).id
    with db.read() as session:
        row = session.get_one(MaskTable, key)
        assert (row.owner, row.created_at <= time.time()) == ("", True)
