"""Conversations: trees of questions and answers, of which one branch is open at a time.

Editing a question or answering it again adds a sibling, so nothing is lost. An answer is one
message with all its sides; what is long about it, its tokens, is kept apart and read on demand.
"""

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.chat import Chat, Message
from storage.database import Database
from storage.errors import StorageError
from storage.schema import ChatTable, MessageTable, new_id

__all__ = ["LEAF", "Chat", "Chats", "Message"]

LEAF: Final = -1
"""In the place of a message's id: the end of the open branch."""


class Chats:
    """All conversations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(
        self, model: str, title: str, settings: Mapping[str, Any] | None = None, *, source: str = ""
    ) -> Chat:
        """A new, empty conversation."""
        with self._db.write() as session:
            return _without_messages(_added(session, model, title, settings or {}, source))

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
            chat = _found(session, chat_id)
            parent = chat.leaf if after == LEAF else after
            row = _appended(
                session, chat, parent, role, content, dict(stats or {}), _packed(tokens)
            )
            row.side = side
            session.flush()
            return _alone(session, row)

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
            chat = _found(session, chat_id)
            parent = chat.leaf if after == LEAF else after
            asked = _appended(session, chat, parent, "user", question, {}, None)
            said = _appended(
                session, chat, asked.id, "assistant", answer, dict(stats), _packed(tokens)
            )
            return _alone(session, asked), _alone(session, said)

    def note(self, message_id: int, stats: Mapping[str, Any]) -> None:
        """Replace what is kept with a message. Raises StorageError if there is none."""
        with self._db.write() as session:
            _message(session, message_id).stats = dict(stats)

    def tokens(self, chat_id: str, message_ids: Sequence[int]) -> dict[int, Any]:
        """What was kept as ``tokens`` with messages of a conversation, by message.

        Those without, and those of other conversations, are left out.
        """
        statement = select(MessageTable.id, MessageTable.tokens).where(
            MessageTable.chat_id == chat_id, MessageTable.id.in_(message_ids)
        )
        with self._db.read() as session:
            rows = session.execute(statement).all()
        return {key: json.loads(zlib.decompress(packed)) for key, packed in rows if packed}

    # --- reading --------------------------------------------------------------------------

    def get(self, chat_id: str) -> Chat:
        """A conversation with its open branch. Raises StorageError if there is none."""
        with self._db.read() as session:
            chat = _without_messages(_found(session, chat_id))
            return replace(chat, messages=_branch(session, chat.id, chat.leaf))

    def branch(self, message_id: int) -> tuple[Message, ...]:
        """The messages from the beginning to this one. Raises StorageError if it is gone."""
        with self._db.read() as session:
            return _branch(session, _message(session, message_id).chat_id, message_id)

    def messages(self, chat_id: str) -> tuple[Message, ...]:
        """All branches of a conversation, by age: parents before children."""
        with self._db.read() as session:
            _found(session, chat_id)
            return tuple(_with_siblings(_rows(session, chat_id)))

    def list(self, limit: int = 50, search: str = "") -> Sequence[Chat]:
        """Conversations without their messages, the last used first; by a part of their title."""
        statement = select(ChatTable).order_by(ChatTable.updated_at.desc()).limit(limit)
        if search:
            statement = statement.where(ChatTable.title.icontains(search, autoescape=True))
        with self._db.read() as session:
            return [_without_messages(row) for row in session.scalars(statement)]

    # --- changing -------------------------------------------------------------------------

    def rename(self, chat_id: str, title: str) -> None:
        """Give another title. Raises StorageError if there is no such conversation."""
        with self._db.write() as session:
            _found(session, chat_id).title = title

    def configure(self, chat_id: str, settings: Mapping[str, Any]) -> None:
        """Replace the settings. Raises StorageError if there is no such conversation."""
        with self._db.write() as session:
            _found(session, chat_id).settings = dict(settings)

    def open_branch(self, message_id: int) -> Chat:
        """Make the branch through a message the open one: to its latest end.

        Raises StorageError if the message is gone.
        """
        with self._db.write() as session:
            chat = _found(session, _message(session, message_id).chat_id)
            latest = {row.parent_id: row.id for row in _rows(session, chat.id)}
            leaf = message_id
            while leaf in latest:
                leaf = latest[leaf]
            chat.leaf = leaf
            return replace(_without_messages(chat), messages=_branch(session, chat.id, leaf))

    def fork(self, chat_id: str, message_id: int, title: str | None = None) -> Chat:
        """A new conversation with a copy of the branch up to a message.

        Raises StorageError if the message is not one of that conversation.
        """
        with self._db.write() as session:
            old = _found(session, chat_id)
            new = _added(session, old.model, title or old.title, old.settings, old.source)
            for one in _branch(session, chat_id, message_id):
                row = _message(session, one.id)
                copy = _appended(
                    session, new, new.leaf, row.role, row.content, row.stats, row.tokens
                )
                copy.side, copy.created_at = row.side, row.created_at
            session.flush()
            chat = _without_messages(new)
            return replace(chat, messages=_branch(session, chat.id, chat.leaf))

    def delete(self, chat_id: str) -> None:
        """Forget a conversation and its messages. Raises StorageError if there is none."""
        with self._db.write() as session:
            session.delete(_found(session, chat_id))


def _added(
    session: Session, model: str, title: str, settings: Mapping[str, Any], source: str
) -> ChatTable:
    now = time.time()
    row = ChatTable(
        id=new_id(), model=model, title=title, settings=dict(settings), created_at=now,
        updated_at=now, source=source, leaf=None,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def _appended(
    session: Session,
    chat: ChatTable,
    parent: int | None,
    role: str,
    content: str,
    stats: dict[str, Any],
    tokens: bytes | None,
) -> MessageTable:
    if parent is not None and _message(session, parent).chat_id != chat.id:
        raise StorageError(f"Message {parent} is not in this conversation.")
    row = MessageTable(
        chat_id=chat.id, parent_id=parent, role=role, content=content, side=None, stats=stats,
        created_at=time.time(), tokens=tokens,
    )  # fmt: skip
    session.add(row)
    session.flush()
    chat.leaf, chat.updated_at = row.id, row.created_at
    return row


def _packed(tokens: Any) -> bytes | None:
    if tokens is None:
        return None
    return zlib.compress(json.dumps(tokens, separators=(",", ":")).encode())


def _rows(session: Session, chat_id: str) -> Sequence[MessageTable]:
    order = select(MessageTable).where(MessageTable.chat_id == chat_id).order_by(MessageTable.id)
    return session.scalars(order).all()


def _branch(session: Session, chat_id: str, leaf: int | None) -> tuple[Message, ...]:
    """From the beginning to ``leaf``, which must be a message of that conversation."""
    found = {one.id: one for one in _with_siblings(_rows(session, chat_id))}
    branch: list[Message] = []
    while leaf is not None:
        if leaf not in found:
            raise StorageError(f"There is no message {leaf} in this conversation.")
        branch.append(found[leaf])
        leaf = found[leaf].parent_id
    return tuple(reversed(branch))


def _with_siblings(rows: Sequence[MessageTable]) -> list[Message]:
    """All messages of a conversation."""
    children: dict[int | None, list[int]] = {}
    for row in rows:
        children.setdefault(row.parent_id, []).append(row.id)
    return [_detached(row, tuple(children[row.parent_id])) for row in rows]


def _alone(session: Session, row: MessageTable) -> Message:
    """One message."""
    siblings = (
        select(MessageTable.id)
        .where(MessageTable.chat_id == row.chat_id, MessageTable.parent_id.is_(row.parent_id))
        .order_by(MessageTable.id)
    )
    return _detached(row, tuple(session.scalars(siblings)))


def _detached(row: MessageTable, siblings: tuple[int, ...]) -> Message:
    return Message(
        row.id, row.chat_id, row.role, row.content, row.side, row.stats, row.created_at,
        row.parent_id, siblings,
    )  # fmt: skip


def _without_messages(row: ChatTable) -> Chat:
    return Chat(
        row.id, row.model, row.title, row.settings, row.created_at, row.updated_at, row.source,
        row.leaf,
    )  # fmt: skip


def _found(session: Session, chat_id: str) -> ChatTable:
    row = session.get(ChatTable, chat_id)
    if row is None:
        raise StorageError(f"There is no chat {chat_id}. It may have been deleted.")
    return row


def _message(session: Session, message_id: int) -> MessageTable:
    row = session.get(MessageTable, message_id)
    if row is None:
        raise StorageError(f"There is no message {message_id}. It may have been deleted.")
    return row
