"""What the Hub makes of the files of a commit."""

from __future__ import annotations

import re
from typing import Any


def is_in(name: str, gone: str) -> bool:
    """Whether a file is what was deleted, or lies in a folder that was."""
    return name == gone or name.startswith(f"{gone.rstrip('/')}/")


def mode_of(path: str) -> str:
    """How a file gets to the Hub, by the `.gitattributes` that every new repository has."""
    return "lfs" if path.endswith(".safetensors") else "regular"


def large(entries: list[dict[str, Any]]) -> set[str]:
    """The names of those files of a commit that were uploaded before it."""
    return {e["value"]["path"] for e in entries if e["key"] == "lfsFile"}


def tags_of(card: str) -> list[str]:
    """The tags that the Hub makes of a card: its own, and the base model's."""
    front = card.split("---")[1] if card.startswith("---") else ""
    tags = re.findall(r"^- (\S+)$", front, re.MULTILINE)
    base = re.search(r"^base_model: (\S+)$", front, re.MULTILINE)
    return [*tags, f"base_model:{base[1]}"] if base else tags
