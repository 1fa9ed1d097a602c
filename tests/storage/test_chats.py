import sqlite3
from pathlib import Path

import pytest

from storage.chats import Chats
from storage.database import FILE_NAME, Database, open_database
from storage.errors import StorageError
from storage.schema import MessageTable
from storage.votes import Contender, Tally, Votes

SIDES = {"sides": [{"name": "full", "text": "3"}, {"name": "half", "text": "4"}]}
OLD_STATS = '{"kv_bytes": 4, "tokens": 11, "seconds": 2.0, "stop_reason": "end"}'
FULL, HALF = Contender(), Contender("half", 0.5)


@pytest.fixture
def chats(db: Database) -> Chats:
    return Chats(db)


def texts(messages: object) -> list[str]:
    return [message.content for message in messages]  # type: ignore[attr-defined]


def test_a_conversation_comes_back_in_order(chats: Chats) -> None:
    chat = chats.create("tracer", "a=3; ?a", {"sparsity": 0.5})
    question = chats.add_message(chat.id, "user", "a=3; ?a")
    answer = chats.add_message(
        chat.id, "assistant", "3", stats=SIDES, tokens=[["3"], [0.5], [None]]
    )

    read = chats.get(chat.id)

    assert read.messages == (question, answer)
    assert (read.model, read.title, read.settings) == ("tracer", "a=3; ?a", {"sparsity": 0.5})
    assert read.messages[1].stats == SIDES
    assert read.messages[1].parent_id == question.id
    assert (read.leaf, read.updated_at) == (answer.id, answer.created_at)
    assert chats.tokens(chat.id, [question.id, answer.id]) == {answer.id: [["3"], [0.5], [None]]}


def test_editing_and_answering_again_add_siblings(chats: Chats) -> None:
    chat = chats.create("tracer", "one")
    asked, said = chats.add_turn(chat.id, "one", "1", SIDES)
    chats.add_turn(chat.id, "more", "2", {})
    again = chats.add_message(chat.id, "assistant", "1b", after=asked.id)
    assert texts(chats.get(chat.id).messages) == ["one", "1b"]
    assert again.siblings == (said.id, again.id)
    edited, _ = chats.add_turn(chat.id, "uno", "I", {}, after=None)
    assert texts(chats.get(chat.id).messages) == ["uno", "I"]
    assert edited.siblings == (asked.id, edited.id)

    assert texts(chats.open_branch(said.id).messages) == ["one", "1", "more", "2"]
    assert texts(chats.open_branch(asked.id).messages) == ["one", "1b"], "the latest below it"
    assert chats.get(chat.id).leaf == again.id
    assert texts(chats.branch(said.id)) == ["one", "1"]
    assert texts(chats.messages(chat.id)) == ["one", "1", "more", "2", "1b", "uno", "I"]


def test_a_fork_is_a_conversation_of_its_own(chats: Chats) -> None:
    chat = chats.create("tracer", "one", {"seed": 3})
    asked, said = chats.add_turn(chat.id, "one", "1", SIDES, tokens=[1, 2])
    chats.add_turn(chat.id, "more", "2", {})

    fork = chats.fork(chat.id, said.id, "one, otherwise")
    chats.add_turn(fork.id, "else", "3", {})
    chats.delete(chat.id)

    read = chats.get(fork.id)
    assert (read.title, read.settings) == ("one, otherwise", {"seed": 3})
    assert texts(read.messages) == ["one", "1", "else", "3"]
    assert read.messages[1].stats == SIDES
    assert [one.created_at for one in read.messages[:2]] == [asked.created_at, said.created_at]
    assert chats.tokens(fork.id, [read.messages[1].id]) == {read.messages[1].id: [1, 2]}
    assert chats.tokens(chat.id, [read.messages[1].id]) == {}, "not another conversation's"
    with pytest.raises(StorageError, match="no message"):
        chats.fork(fork.id, said.id)


def test_the_last_used_is_listed_first(chats: Chats) -> None:
    first, second = chats.create("tracer", "one"), chats.create("tracer", "two")
    chats.add_message(first.id, "user", "more")

    assert [chat.id for chat in chats.list()] == [first.id, second.id]
    assert [chat.messages for chat in chats.list(limit=1)] == [()]


def test_titles_can_be_changed_and_searched(chats: Chats) -> None:
    chat = chats.create("tracer", "100 % of it", {"seed": 1}, source="imported")
    chats.create("tracer", "1000 things")
    chats.rename(chat.id, "All 100 % of IT")
    (found,) = chats.list(search="100 % of it")
    assert (found.title, found.source, found.settings) == (
        "All 100 % of IT",
        "imported",
        {"seed": 1},
    )
    assert chats.list(search="_") == []


def test_notes_replace_what_was_kept_with_a_message(chats: Chats) -> None:
    chat = chats.create("tracer", "one")
    _, said = chats.add_turn(chat.id, "one", "1", {"vote": None})
    chats.note(said.id, {"vote": "a"})
    assert chats.get(chat.id).messages[1].stats == {"vote": "a"}


def test_a_deleted_conversation_takes_its_messages_along(chats: Chats, db: Database) -> None:
    chat = chats.create("tracer", "one")
    last = chats.add_message(chat.id, "user", "hello")
    with db.write() as session:  # deeper than SQLite lets a cascade recurse
        session.add_all(
            MessageTable(
                id=last.id + n, chat_id=chat.id, parent_id=last.id + n - 1, role="user",
                content="more", side=None, stats={}, created_at=0.0,
            )
            for n in range(1, 1200)
        )  # fmt: skip
    assert len(chats.branch(last.id + 1199)) == 1200

    chats.delete(chat.id)

    assert chats.list() == []
    assert db.check() == []
    for gone in (
        lambda: chats.add_message(chat.id, "user", "hello?"),
        lambda: chats.get(chat.id),
        lambda: chats.branch(last.id),
        lambda: chats.rename(chat.id, "two"),
    ):
        with pytest.raises(StorageError, match="There is no"):
            gone()


def test_no_message_gets_the_id_of_a_deleted_one(chats: Chats, db: Database) -> None:
    """An old tab may still show the deleted one, and vote on it or branch from it."""
    chat = chats.create("tracer", "one")
    gone = [message.id for message in chats.add_turn(chat.id, "q", "a", SIDES)]
    chats.delete(chat.id)
    new = chats.create("tracer", "two")
    assert min(message.id for message in chats.add_turn(new.id, "q", "a", SIDES)) > max(gone)
    with pytest.raises(StorageError, match="There is no message"):
        Votes(db).cast(gone[1], "left", FULL, HALF)


def test_a_message_of_another_conversation_is_no_parent(chats: Chats) -> None:
    one, two = chats.create("tracer", "one"), chats.create("tracer", "two")
    message = chats.add_message(one.id, "user", "hello")
    with pytest.raises(StorageError, match="in this conversation"):
        chats.add_message(two.id, "user", "hello", after=message.id)
    assert chats.get(two.id).messages == ()


def test_answers_of_two_rows_become_one_message(tmp_path: Path) -> None:
    """Until schema 3 each side's answer was a row of its own."""
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.executescript((Path(__file__).parent / "schemas" / "003.sql").read_text())
    (chat,) = connection.execute("SELECT id FROM chats").fetchone()
    for role, text, side in (
        ("assistant", "4", "compressed"), ("user", "more", None), ("assistant", "5", "full"),
    ):  # fmt: skip
        connection.execute(
            "INSERT INTO messages (chat_id, role, content, side, stats, created_at) "
            "VALUES (?, ?, ?, ?, ?, 1.0)", (chat, role, text, side, OLD_STATS),
        )  # fmt: skip
    connection.commit()
    connection.close()

    db = open_database(tmp_path)
    messages = Chats(db).get(chat).messages
    assert texts(messages) == ["a=3; ?a", "3", "more", "5"]
    full, compressed = messages[1].stats["sides"]
    assert full == {"slot": 0, "role": "full", "name": "Full", "text": "3", "now": {"bytes": 9}}
    assert compressed == {
        "slot": 1, "role": "comp", "name": "Compressed", "text": "4",
        "now": {"bytes": 4, "tokens": 11, "seconds": 2.0, "speed": 5.0, "stop": "end"},
    }  # fmt: skip
    assert [m.parent_id for m in messages] == [None, *(m.id for m in messages[:-1])]
    db.close()


def test_votes_are_counted_by_what_was_compared(chats: Chats, db: Database) -> None:
    votes, chat = Votes(db), chats.create("tracer", "one")
    said = [chats.add_turn(chat.id, "one", "1", SIDES)[1].id for _ in range(5)]
    votes.cast(said[0], "left", FULL, HALF)
    votes.cast(said[1], "left", HALF, FULL, {"temperature": 1})
    votes.cast(said[2], "right", FULL, HALF)
    votes.cast(said[3], "tie", HALF, FULL)
    votes.cast(said[4], "left", FULL, Contender("half", 0.75))
    votes.cast(said[4], "right", FULL, Contender("half", 0.75))
    expected = [
        Tally("tracer", HALF, FULL, won=2, lost=1, tied=1),
        Tally("tracer", Contender("half", 0.75), FULL, won=1, lost=0, tied=0),
    ]
    assert votes.tally("tracer") == expected
    assert votes.tally("another") == []
    chats.delete(chat.id)
    assert votes.tally() == expected, "the tally outlives the conversation"
    with pytest.raises(StorageError, match="There is no message"):
        votes.cast(said[0], "tie", FULL, HALF)
    with pytest.raises(StorageError, match="left, right or tie"):
        votes.cast(said[0], "both", FULL, HALF)  # type: ignore[arg-type]


def test_of_two_masks_the_one_that_compresses_more_is_the_contender(
    chats: Chats, db: Database
) -> None:
    """Whichever name comes first, and on whichever side it stood."""
    votes, chat = Votes(db), chats.create("tracer", "one")
    few, many = Contender("a", 0.8), Contender("z", 0.5)
    for choice, left, right in (("left", few, many), ("left", many, few), ("right", many, few)):
        _, said = chats.add_turn(chat.id, "one", "1", SIDES)
        votes.cast(said.id, choice, left, right)  # type: ignore[arg-type]
    assert votes.tally() == [Tally("tracer", few, many, won=2, lost=1, tied=0)]
