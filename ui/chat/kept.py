"""Conversations as the page needs them, out of the database: nodes of a tree, votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlkv.errors import UserError
from storage.chats import Chat, Chats, Message
from storage.votes import Choice, Contender, Tally, Votes
from ui.chat.running import Run

TITLE = 60
"""Characters of the first question that name a conversation."""
_BARE: dict[str, Any] = {
    "role": "comp",
    "name": "Answer",
    "hint": "",
    "mask": None,
    "breaks": [],
    "now": {},
}
_CHOICES: dict[str, Choice] = {"a": "left", "b": "right", "tie": "tie"}


@dataclass(frozen=True)
class Node:
    """A question, or an answer with all its sides."""

    id: int
    role: str
    text: str = ""
    parent: int | None = None
    siblings: tuple[int, ...] = ()
    """Versions of it, itself included, by age."""
    answer: dict[str, Any] = field(default_factory=dict)
    """Of an answer: model, settings in words, sides; in the sides `cols` only where asked for."""


class Kept:
    """The conversations and votes of a visitor."""

    def __init__(self, chats: Chats, votes: Votes) -> None:
        self._chats, self._votes = chats, votes

    # --- reading --------------------------------------------------------------------------

    def chat(self, chat: str) -> Chat:
        """A conversation; raises StorageError if it is gone."""
        return self._chats.get(chat)

    def list(self, limit: int = 200) -> Sequence[Chat]:
        """All conversations without their messages, the last used first."""
        return self._chats.list(limit)

    def branch(self, chat: str) -> tuple[Node, ...]:
        """The open branch, from the first question on, without tokens."""
        return tuple(_node(message) for message in self._chats.get(chat).messages)

    def answers(self, chat: str, ids: Sequence[int] | None = None) -> tuple[Node, ...]:
        """Answers of a conversation with their tokens: those of `ids`, or of the open branch."""
        found = self._chats.get(chat).messages if ids is None else self._chats.messages(chat)
        wanted = [m for m in found if m.role == "assistant" and (ids is None or m.id in ids)]
        tokens = self._chats.tokens(chat, [message.id for message in wanted])
        return tuple(_node(message, tokens.get(message.id)) for message in wanted)

    def everything(self, chat: str) -> tuple[Node, ...]:
        """All branches of a conversation with their tokens, parents before children."""
        found = self._chats.messages(chat)
        tokens = self._chats.tokens(chat, [message.id for message in found])
        return tuple(_node(message, tokens.get(message.id)) for message in found)

    def tally(self) -> Sequence[Tally]:
        """How the votes stand."""
        return self._votes.tally()

    def require_room(self) -> None:
        """Raises StorageError where no other conversation can be kept: before it is begun."""
        self._chats.require_room()

    # --- changing -------------------------------------------------------------------------

    def keep(self, run: Run) -> str:
        """Keeps a question with its answer, or another answer; returns the conversation's id."""
        plan, answer = run.plan, run.answer()
        chat = plan.chat
        if chat is None:
            title = " ".join(plan.question.split())[:TITLE]
            chat = self._chats.create(plan.settings.model, title).id
        tokens = [side.pop("cols") for side in answer["sides"]]
        text = str(answer["sides"][0]["text"])
        if plan.asked is None:
            self._chats.add_turn(
                chat, plan.question, text, answer, after=plan.parent, tokens=tokens
            )
        else:
            self._chats.add_message(
                chat, "assistant", text, stats=answer, after=plan.asked, tokens=tokens
            )
        return chat

    def bring(self, model: str, title: str, nodes: Sequence[Node], leaf: int | None) -> str:
        """Keeps a conversation that came from elsewhere, with the branch that ends in `leaf` open;
        returns its id. Parents stand before their children."""
        chat = self._chats.create(model, title, source="imported").id
        ids: dict[int | None, int | None] = {None: None}
        for node in nodes:
            sides = [dict(side) for side in node.answer.get("sides", [])]
            tokens = [side.pop("cols", None) for side in sides] or None
            stats = {**node.answer, "sides": sides} if sides else {}
            text = str(sides[0]["text"]) if sides else node.text
            after = ids[node.parent]
            ids[node.id] = self._chats.add_message(
                chat, node.role, text, stats=stats, after=after, tokens=tokens
            ).id
        if (last := ids.get(leaf)) is not None:
            self._chats.open_branch(last)
        return chat

    def rename(self, chat: str, title: str) -> None:
        """Another title."""
        self._chats.rename(chat, title)

    def delete(self, chat: str) -> None:
        """Forgets a conversation; its votes stay counted."""
        self._chats.delete(chat)

    def select(self, chat: str, message: int) -> None:
        """Opens the branch through a message of a conversation."""
        self._require(chat, message)
        self._chats.open_branch(message)

    def fork(self, chat: str, message: int) -> str:
        """A new conversation with everything up to a message; returns its id."""
        title = self._chats.get(chat).title
        return self._chats.fork(chat, message, f"Fork: {title[:TITLE]}").id

    def vote(self, chat: str, message: int, choice: str) -> None:
        """Decides a blind comparison: "a", "b", "tie", or "skip", which is not counted.

        Raises:
            UserError: if that answer was not blind, or is decided.
        """
        stats = dict(self._require(chat, message).stats)
        if stats.get("order") is None or stats.get("vote") is not None:
            raise UserError("There is nothing to vote on any more.")
        stats["vote"] = choice
        self._chats.note(message, stats)
        if choice in _CHOICES:
            left, right = (_contender(stats["sides"][i]) for i in stats["order"])
            settings = {"sampling": stats.get("sampling"), "model": stats.get("model")}
            self._votes.cast(message, _CHOICES[choice], left, right, settings)

    def _require(self, chat: str, message: int) -> Message:
        for one in self._chats.messages(chat):
            if one.id == message:
                return one
        raise UserError("That message is not there any more: open the conversation again.")


def _node(message: Message, tokens: Any = None) -> Node:
    answer = shaped(message.stats) if message.role == "assistant" else {}
    if tokens is not None:
        both = zip(answer["sides"], tokens, strict=False)
        answer = {**answer, "sides": [{**side, "cols": cols or {}} for side, cols in both]}
    return Node(
        message.id, message.role, message.content, message.parent_id, message.siblings, answer
    )


def shaped(stats: Mapping[str, Any]) -> dict[str, Any]:
    """An answer's notes with all that the page reads; files may leave things out."""
    sides = [{**_BARE, "slot": slot, **side} for slot, side in enumerate(stats.get("sides", []))]
    return {**stats, "sides": sides}


def _contender(side: Mapping[str, Any]) -> Contender:
    mask = side.get("mask")
    return Contender(str(mask["name"]), float(mask["sparsity"])) if mask else Contender()
