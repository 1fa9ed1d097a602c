"""Conversations as rows: added, appended to, and read as the records of `storage.chat`.

All of it happens within somebody else's transaction.
"""

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.chat import Chat, Message
from storage.errors import StorageError
from storage.schema import ChatTable, MessageTable, new_id


def added(
    session: Session,
    model: str,
    title: str,
    settings: Mapping[str, Any],
    source: str,
    owner: str,
) -> ChatTable:
    """A new, empty conversation of an owner."""
    now = time.time()
    row = ChatTable(
        id=new_id(), model=model, title=title, settings=dict(settings), created_at=now,
        updated_at=now, source=source, leaf=None, owner=owner,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def appended(
    session: Session,
    chat: ChatTable,
    parent: int | None,
    role: str,
    content: str,
    stats: dict[str, Any],
    tokens: bytes | None,
) -> MessageTable:
    """A message after ``parent``, now the end of the open branch. Raises StorageError if that is
    not one of the conversation."""
    if parent is not None:
        before = session.get(MessageTable, parent)
        if before is None or before.chat_id != chat.id:
            raise StorageError(f"There is no message {parent} in this conversation.")
    row = MessageTable(
        chat_id=chat.id, parent_id=parent, role=role, content=content, side=None, stats=stats,
        created_at=time.time(), tokens=tokens,
    )  # fmt: skip
    session.add(row)
    session.flush()
    chat.leaf, chat.updated_at = row.id, row.created_at
    return row


def packed(tokens: Any) -> bytes | None:
    """Tokens as they are kept."""
    if tokens is None:
        return None
    return zlib.compress(json.dumps(tokens, separators=(",", ":")).encode())


def rows(session: Session, chat_id: str) -> Sequence[MessageTable]:
    """All messages of a conversation, by age."""
    order = select(MessageTable).where(MessageTable.chat_id == chat_id).order_by(MessageTable.id)
    return session.scalars(order).all()


def branch(session: Session, chat_id: str, leaf: int | None) -> tuple[Message, ...]:
    """From the beginning to ``leaf``, which must be a message of that conversation."""
    found = {one.id: one for one in with_siblings(rows(session, chat_id))}
    branch: list[Message] = []
    while leaf is not None:
        if leaf not in found:
            raise StorageError(f"There is no message {leaf} in this conversation.")
        branch.append(found[leaf])
        leaf = found[leaf].parent_id
    return tuple(reversed(branch))


def with_siblings(rows: Sequence[MessageTable]) -> list[Message]:
    """All messages of a conversation."""
    children: dict[int | None, list[int]] = {}
    for row in rows:
        children.setdefault(row.parent_id, []).append(row.id)
    return [detached(row, tuple(children[row.parent_id])) for row in rows]


def alone(session: Session, row: MessageTable) -> Message:
    """One message."""
    siblings = (
        select(MessageTable.id)
        .where(MessageTable.chat_id == row.chat_id, MessageTable.parent_id.is_(row.parent_id))
        .order_by(MessageTable.id)
    )
    return detached(row, tuple(session.scalars(siblings)))


def detached(row: MessageTable, siblings: tuple[int, ...]) -> Message:
    return Message(
        row.id, row.chat_id, row.role, row.content, row.side, row.stats, row.created_at,
        row.parent_id, siblings,
    )  # fmt: skip


def without_messages(row: ChatTable) -> Chat:
    """The record of a conversation alone."""
    return Chat(
        row.id, row.model, row.title, row.settings, row.created_at, row.updated_at, row.source,
        row.leaf,
    )  # fmt: skip


def find_message(session: Session, message_id: int) -> MessageTable:
    """A message of anybody. Raises StorageError if there is none."""
    row = session.get(MessageTable, message_id)
    if row is None:
        raise missing(message_id)
    return row


def missing(message_id: int) -> StorageError:
    """What is said of a message that is not there, or is somebody else's."""
    return StorageError(f"There is no message {message_id}. It may have been deleted.")
