"""Conversations in the database, and how the transcript shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlkv.dialogue.export import from_json, to_json
from rlkv.errors import UserError
from storage.chats import Chats
from storage.database import Database, open_database
from storage.votes import Votes
from tests.ui.chat.stage import MOST, finished
from ui.chat import exchange, transcript
from ui.chat.kept import Kept
from ui.chat.screen import Desk, Screen, signed
from ui.chat.tally import tally
from ui.studio import Settings, Studio


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = open_database(tmp_path)
    yield db
    db.close()


@pytest.fixture
def kept(db: Database) -> Kept:
    return Kept(Chats(db), Votes(db))


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(Studio(Settings(), db))


def test_an_answer_comes_back_as_it_was_written(kept: Kept) -> None:
    run = finished()
    chat = kept.keep(run)
    (answer,) = kept.answers(chat)
    for i, side in enumerate(answer.answer["sides"]):
        whole = run.side(i)
        assert side["cols"] == whole["cols"]
        assert {**side["now"], "reading": None} == {**whole["now"], "reading": None}
        assert side["prefix" if i else "slot"] == whole["prefix" if i else "slot"]
    (turn,) = transcript.turns(kept.branch(chat))
    assert "cols" not in turn["sides"][0]
    assert transcript.tokens_of(answer)[1]["cols"] == run.side(1)["cols"]


def test_a_side_reads_its_own_earlier_answers(kept: Kept) -> None:
    run = finished()
    branch = kept.branch(kept.keep(run))
    earlier = transcript.earlier(branch)
    assert run.frame is not None
    for slot, state in enumerate(run.frame.sides):
        history = finished(earlier=earlier).plan.history(slot)
        assert [message.text for message in history][1] == state.text
    # A side that was not there then reads what the first one said.
    assert finished(earlier=earlier).plan.history(2)[1].text == run.frame.sides[0].text


def test_a_blind_answer_is_concealed_until_the_vote(desk: Desk, kept: Kept) -> None:
    chat = kept.keep(finished((1, 0)))
    question, answer = kept.branch(chat)
    (turn,) = transcript.turns([question, answer])
    assert [side["name"] for side in turn["sides"]] == ["A", "B"]
    told = desk.columns({"key": signed(chat), "chat": chat, "ids": [answer.id]})
    assert [set(side["cols"]) for side in told[str(answer.id)]] == [{"t"}, {"t"}]
    with pytest.raises(UserError, match="vote first"):
        exchange.write(desk, Screen(chat=chat), "json")
    kept.vote(chat, answer.id, "a")
    with pytest.raises(UserError, match="nothing to vote"):
        kept.vote(chat, answer.id, "b")
    (turn,) = transcript.turns(kept.branch(chat))
    assert [side["name"] for side in turn["sides"]] == ["Full", "Compressed"]
    (votes,) = kept.tally()
    assert (votes.contender.mask, votes.won, votes.lost) == (MOST.name, 1, 0)
    assert 'data-won="1"' in tally(kept)


def test_a_vote_that_is_skipped_is_not_counted(kept: Kept) -> None:
    chat = kept.keep(finished((0, 1)))
    kept.vote(chat, kept.branch(chat)[1].id, "skip")
    assert list(kept.tally()) == []
    assert "Shown without a vote" in transcript.turns(kept.branch(chat))[0]["blind"]["words"]


def test_all_branches_go_out_and_come_back(desk: Desk, kept: Kept) -> None:
    chat = kept.keep(finished())
    question = kept.branch(chat)[0]
    kept.keep(finished(chat=chat, asked=question.id))
    record = from_json(to_json(exchange.record_of(desk, Screen(chat=chat))))
    path = exchange.write(desk, Screen(chat=chat), "json")
    new, title = exchange.read(desk, path)
    assert title == kept.chat(chat).title
    again = exchange.record_of(desk, Screen(chat=new))
    assert [m["text"] for m in again["messages"]] == [m["text"] for m in record["messages"]]
    assert again["messages"][2]["answer"] == record["messages"][2]["answer"]
    assert len(kept.branch(new)[1].siblings) == 2
    assert kept.chat(new).source == "imported"


def test_tokens_are_given_only_with_the_key_of_their_conversation(desk: Desk, kept: Kept) -> None:
    first, second = kept.keep(finished()), kept.keep(finished())
    answer = kept.branch(first)[1].id
    assert desk.columns({"key": signed(first), "chat": first, "ids": [answer]})
    for asked in (
        {"key": signed(second), "chat": first, "ids": [answer]},
        {"key": signed(second), "chat": second, "ids": [answer]},
        {"key": "", "chat": first, "ids": [answer]},
        {"key": "\u00e9", "chat": first, "ids": [answer]},
        {"key": "\ud800", "chat": first, "ids": [answer]},
        {"key": "", "chat": "\ud800", "ids": [answer]},
        {"key": None, "chat": None, "ids": "x"},
        None,
    ):
        assert desk.columns(asked) == {}
    kept.delete(first)
    assert desk.columns({"key": signed(first), "chat": first, "ids": [answer]}) == {}
