"""One conversation and its messages as they were when read; `storage.chats.Chats` changes them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """One question, or one answer with all its sides."""

    id: int
    chat_id: str
    role: str  # "user" or "assistant"
    content: str  # of an answer: the text of its first side
    side: str | None  # which model answered, where a message holds one side only
    stats: dict[str, Any]  # sides, bytes, seconds: whatever the page wants back with the branch
    created_at: float
    parent_id: int | None  # the message it follows; None at the beginning
    siblings: tuple[int, ...] = ()  # all that follow the same message, itself included, by age


@dataclass(frozen=True)
class Chat:
    """A conversation. ``messages`` is its open branch, empty where it came from `Chats.list`."""

    id: str
    model: str
    title: str
    settings: dict[str, Any]
    created_at: float
    updated_at: float
    source: str = ""  # "" if it was held here, else where it came from: "imported", "recorded"
    leaf: int | None = None  # the last message of the open branch
    messages: tuple[Message, ...] = ()
