"""How a job ended, as its row keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ending:
    """The last words of a job that came to an end of its own, or was stopped."""

    state: str
    """ "done" or "cancelled"."""
    message: str
    mask: Mapping[str, Any] | None = None
    """Record of the mask it leaves, if any."""
