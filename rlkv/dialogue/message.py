"""What is said, and to whom: messages, and the sides that answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlkv.masks import HeadMask

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: Role
    text: str
    """An answer's text is all of it, its thinking part included: the model's chat template
    decides what of it is read again."""


@dataclass(frozen=True)
class SideSpec:
    """One of the sides that answer."""

    mask: HeadMask | None
    """None is the full cache."""
    history: tuple[Message, ...]
    """Ends with the question; earlier answers are this side's own."""
