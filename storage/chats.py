"""Conversations: one model, one question at a time, an answer of each side with its costs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import StorageError
from storage.schema import ChatTable, MessageTable, detached, new_id


@dataclass(frozen=True)
class Message:
    """One question, or one side's answer."""

    id: int
    chat_id: str
    role: str  # "user" or "assistant"
    content: str
    side: str | None  # which model answered, "full" or "compressed"; None for a question
    stats: dict[str, Any]  # tokens, bytes, seconds: whatever the page wants back
    created_at: float


@dataclass(frozen=True)
class Chat:
    """A conversation. ``messages`` is empty where it came from `Chats.list`."""

    id: str
    model: str
    title: str
    settings: dict[str, Any]
    created_at: float
    updated_at: float
    messages: tuple[Message, ...] = ()


class Chats:
    """All conversations."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(self, model: str, title: str, settings: Mapping[str, Any] | None = None) -> Chat:
        """A new, empty conversation."""
        now = time.time()
        chat = Chat(new_id(), model, title, dict(settings or {}), now, now)
        with self._db.write() as session:
            session.add(_row(chat))
        return chat

    def add_message(
        self,
        chat_id: str,
        role: str,
        content: str,
        side: str | None = None,
        stats: Mapping[str, Any] | None = None,
    ) -> Message:
        """Add to the end of a conversation. Raises StorageError if there is none."""
        with self._db.write() as session:
            chat = _found(session, chat_id)
            row = MessageTable(
                chat_id=chat_id,
                role=role,
                content=content,
                side=side,
                stats=dict(stats or {}),
                created_at=time.time(),
            )
            session.add(row)
            session.flush()
            chat.updated_at = row.created_at
            return detached(Message, row)

    def get(self, chat_id: str) -> Chat:
        """A conversation with its messages in order. Raises StorageError if there is none."""
        order = (
            select(MessageTable).where(MessageTable.chat_id == chat_id).order_by(MessageTable.id)
        )
        with self._db.read() as session:
            chat = _without_messages(_found(session, chat_id))
            messages = tuple(detached(Message, row) for row in session.scalars(order))
        return replace(chat, messages=messages)

    def list(self, limit: int = 50) -> Sequence[Chat]:
        """Conversations without their messages, the last used first."""
        statement = select(ChatTable).order_by(ChatTable.updated_at.desc()).limit(limit)
        with self._db.read() as session:
            return [_without_messages(row) for row in session.scalars(statement)]

    def delete(self, chat_id: str) -> None:
        """Forget a conversation and its messages. Raises StorageError if there is none."""
        with self._db.write() as session:
            session.delete(_found(session, chat_id))


def _row(chat: Chat) -> ChatTable:
    return ChatTable(
        id=chat.id,
        model=chat.model,
        title=chat.title,
        settings=chat.settings,
        created_at=chat.created_at,
        updated_at=chat.updated_at,
    )


def _without_messages(row: ChatTable) -> Chat:
    return Chat(row.id, row.model, row.title, row.settings, row.created_at, row.updated_at)


def _found(session: Session, chat_id: str) -> ChatTable:
    row = session.get(ChatTable, chat_id)
    if row is None:
        raise StorageError(f"There is no chat {chat_id}. It may have been deleted.")
    return row
