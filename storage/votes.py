"""Blind votes: which of two answers was found better, and how often under which masks."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import delete, select

from storage.chat_rows import find_message, missing
from storage.database import Database
from storage.errors import StorageError
from storage.owners import Owner, seen, sees
from storage.schema import ChatTable, VoteTable

Choice = Literal["left", "right", "tie"]


@dataclass(frozen=True)
class Contender:
    """One side of a comparison."""

    mask: str = ""
    """Name of its mask; "" is the full cache."""
    sparsity: float = 0.0


@dataclass(frozen=True)
class Tally:
    """All votes between two contenders on one model."""

    model: str
    contender: Contender  # of the two the one that compresses more heads
    against: Contender
    won: int  # votes for the contender
    lost: int
    tied: int


class Votes:
    """All votes, or those that ``owner`` sees; they outlive their conversations."""

    def __init__(self, db: Database, owner: Owner = None) -> None:
        self._db, self._owner = db, owner

    def cast(
        self,
        message_id: int,
        choice: Choice,
        left: Contender,
        right: Contender,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Vote on an answer: left and right as they were shown. A later vote replaces it.

        Raises:
            StorageError: the message is gone, or the choice is none.
        """
        if choice not in ("left", "right", "tie"):
            raise StorageError(f"A vote is left, right or tie, not {choice!r}.")
        with self._db.write() as session:
            message = find_message(session, message_id)
            chat = session.get_one(ChatTable, message.chat_id)
            if not sees(chat, self._owner, public=False):
                raise missing(message_id)
            session.execute(delete(VoteTable).where(VoteTable.message_id == message_id))
            session.add(
                VoteTable(
                    chat_id=chat.id, message_id=message_id, model=chat.model, choice=choice,
                    left_mask=left.mask, left_sparsity=left.sparsity,
                    right_mask=right.mask, right_sparsity=right.sparsity,
                    settings=dict(settings or {}), created_at=time.time(), owner=chat.owner,
                )
            )  # fmt: skip

    def tally(self, model: str | None = None) -> Sequence[Tally]:
        """How the votes stand, for one model or all: the most voted pairs first."""
        statement = select(VoteTable).where(seen(VoteTable, self._owner))
        if model is not None:
            statement = statement.where(VoteTable.model == model)
        counts: dict[tuple[str, Contender, Contender], Counter[str]] = {}
        with self._db.read() as session:
            for row in session.scalars(statement):
                left = Contender(row.left_mask, row.left_sparsity)
                right = Contender(row.right_mask, row.right_sparsity)
                swapped = _order(left) > _order(right)
                pair = (left, right) if swapped else (right, left)
                count = counts.setdefault((row.model, *pair), Counter())
                count[_outcome(row.choice, swapped)] += 1
        found = [Tally(*key, n["won"], n["lost"], n["tied"]) for key, n in counts.items()]
        return sorted(found, key=lambda one: -(one.won + one.lost + one.tied))


def _order(one: Contender) -> tuple[float, str]:
    return one.sparsity, one.mask


def _outcome(choice: str, left_is_contender: bool) -> str:
    if choice == "tie":
        return "tied"
    return "won" if (choice == "left") == left_is_contender else "lost"
