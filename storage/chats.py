"""Conversations: trees of questions and answers, of which one branch is open at a time.

Editing a question or answering it again adds a sibling, so nothing is lost. An answer is one
message with all its sides; what is long about it, its tokens, is kept apart and read on demand.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from storage.chat import Chat, Message
from storage.chat_rows import (
    added,
    alone,
    appended,
    branch,
    find_message,
    missing,
    packed,
    rows,
    with_siblings,
    without_messages,
)
from storage.database import Database
from storage.errors import StorageError
from storage.limits import Limits, require_room_for_chat
from storage.owners import Owner, seen, sees, written
from storage.schema import ChatTable, MessageTable

__all__ = ["LEAF", "Chat", "Chats", "Message"]

LEAF: Final = -1
"""In the place of a message's id: the end of the open branch."""


class Chats:
    """All conversations, or those of ``owner``, who may keep as many as ``limits`` say."""

    def __init__(self, db: Database, owner: Owner = None, limits: Limits | None = None) -> None:
        self._db, self._owner, self._limits = db, owner, limits

    def create(
        self, model: str, title: str, settings: Mapping[str, Any] | None = None, *, source: str = ""
    ) -> Chat:
        """A new, empty conversation.

        Raises:
            StorageError: the owner keeps as many as they may.
        """
        with self._db.write() as session:
            return without_messages(self._added(session, model, title, settings or {}, source))

    def add_message(
        self,
        chat_id: str,
        role: str,
        content: str,
        side: str | None = None,
        stats: Mapping[str, Any] | None = None,
        *,
        after: int | None = LEAF,
        tokens: Any = None,
    ) -> Message:
        """Add a message, which becomes the end of the open branch.

        Args:
            after: id of the message it follows, None for another beginning; by default the end of
                the open branch.
            tokens: JSON values that `tokens` gives back; kept compressed.

        Raises:
            StorageError: there is no such conversation, or no such message in it.
        """
        with self._db.write() as session:
            chat = self._found(session, chat_id)
            parent = chat.leaf if after == LEAF else after
            row = appended(session, chat, parent, role, content, dict(stats or {}), packed(tokens))
            row.side = side
            session.flush()
            return alone(session, row)

    def add_turn(
        self,
        chat_id: str,
        question: str,
        answer: str,
        stats: Mapping[str, Any],
        *,
        after: int | None = LEAF,
        tokens: Any = None,
    ) -> tuple[Message, Message]:
        """Add a question and its answer at once; raises as `add_message`."""
        with self._db.write() as session:
            chat = self._found(session, chat_id)
            parent = chat.leaf if after == LEAF else after
            asked = appended(session, chat, parent, "user", question, {}, None)
            said = appended(
                session, chat, asked.id, "assistant", answer, dict(stats), packed(tokens)
            )
            return alone(session, asked), alone(session, said)

    def note(self, message_id: int, stats: Mapping[str, Any]) -> None:
        """Replace what is kept with a message. Raises StorageError if there is none."""
        with self._db.write() as session:
            self._message(session, message_id).stats = dict(stats)

    def tokens(self, chat_id: str, message_ids: Sequence[int]) -> dict[int, Any]:
        """What was kept as ``tokens`` with messages of a conversation, by message.

        Those without, and those of other conversations, are left out.
        """
        statement = select(MessageTable.id, MessageTable.tokens).where(
            MessageTable.chat_id == chat_id,
            MessageTable.id.in_(message_ids),
            exists().where(ChatTable.id == chat_id, self._own()),
        )
        with self._db.read() as session:
            rows = session.execute(statement).all()
        return {key: json.loads(zlib.decompress(packed)) for key, packed in rows if packed}

    # --- reading --------------------------------------------------------------------------

    def get(self, chat_id: str) -> Chat:
        """A conversation with its open branch. Raises StorageError if there is none."""
        with self._db.read() as session:
            chat = without_messages(self._found(session, chat_id))
            return replace(chat, messages=branch(session, chat.id, chat.leaf))

    def branch(self, message_id: int) -> tuple[Message, ...]:
        """The messages from the beginning to this one. Raises StorageError if it is gone."""
        with self._db.read() as session:
            return branch(session, self._message(session, message_id).chat_id, message_id)

    def messages(self, chat_id: str) -> tuple[Message, ...]:
        """All branches of a conversation, by age: parents before children."""
        with self._db.read() as session:
            self._found(session, chat_id)
            return tuple(with_siblings(rows(session, chat_id)))

    def list(self, limit: int = 50, search: str = "") -> Sequence[Chat]:
        """Conversations without their messages, the last used first; by a part of their title."""
        statement = select(ChatTable).where(self._own())
        statement = statement.order_by(ChatTable.updated_at.desc()).limit(limit)
        if search:
            statement = statement.where(ChatTable.title.icontains(search, autoescape=True))
        with self._db.read() as session:
            return [without_messages(row) for row in session.scalars(statement)]

    # --- changing -------------------------------------------------------------------------

    def rename(self, chat_id: str, title: str) -> None:
        """Give another title. Raises StorageError if there is no such conversation."""
        with self._db.write() as session:
            self._found(session, chat_id).title = title

    def open_branch(self, message_id: int) -> Chat:
        """Make the branch through a message the open one: to its latest end.

        Raises StorageError if the message is gone.
        """
        with self._db.write() as session:
            chat = self._found(session, self._message(session, message_id).chat_id)
            latest = {row.parent_id: row.id for row in rows(session, chat.id)}
            leaf = message_id
            while leaf in latest:
                leaf = latest[leaf]
            chat.leaf = leaf
            return replace(without_messages(chat), messages=branch(session, chat.id, leaf))

    def fork(self, chat_id: str, message_id: int, title: str | None = None) -> Chat:
        """A new conversation with a copy of the branch up to a message.

        Raises StorageError if the message is not one of that conversation, or the owner keeps as
        many as they may.
        """
        with self._db.write() as session:
            old = self._found(session, chat_id)
            new = self._added(session, old.model, title or old.title, old.settings, old.source)
            for one in branch(session, chat_id, message_id):
                row = self._message(session, one.id)
                copy = appended(
                    session, new, new.leaf, row.role, row.content, row.stats, row.tokens
                )
                copy.side, copy.created_at = row.side, row.created_at
            session.flush()
            chat = without_messages(new)
            return replace(chat, messages=branch(session, chat.id, chat.leaf))

    def delete(self, chat_id: str) -> None:
        """Forget a conversation and its messages. Raises StorageError if there is none."""
        with self._db.write() as session:
            session.delete(self._found(session, chat_id))

    def require_room(self) -> None:
        """Raises StorageError where no other conversation can be kept: before it is held."""
        with self._db.read() as session:
            self._require_room(session)

    # --- whose ----------------------------------------------------------------------------

    def _own(self) -> ColumnElement[bool]:
        return seen(ChatTable, self._owner, public=False)

    def _found(self, session: Session, chat_id: str) -> ChatTable:
        row = session.get(ChatTable, chat_id)
        if row is None or not sees(row, self._owner, public=False):
            raise StorageError(f"There is no chat {chat_id}. It may have been deleted.")
        return row

    def _message(self, session: Session, message_id: int) -> MessageTable:
        row = find_message(session, message_id)
        chat = session.get_one(ChatTable, row.chat_id)
        if not sees(chat, self._owner, public=False):
            raise missing(message_id)
        return row

    def _require_room(self, session: Session) -> None:
        if self._limits is not None:
            require_room_for_chat(session, written(self._owner), self._limits)

    def _added(
        self, session: Session, model: str, title: str, settings: Mapping[str, Any], source: str
    ) -> ChatTable:
        self._require_room(session)
        return added(session, model, title, settings, source, written(self._owner))
