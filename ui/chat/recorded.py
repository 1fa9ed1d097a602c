"""The conversations that ship with the app: shown and played without a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from rlkv.dialogue.export import from_json
from rlkv.dialogue.record import branch
from rlkv.errors import UserError
from ui.chat.kept import Node, shaped
from ui.studio import EXAMPLES
from ui.units import percent

FOLDER = EXAMPLES / "chats"
Record = dict[str, Any]


@lru_cache(maxsize=1)
def _all() -> dict[str, Record]:
    """The records by the names of their files; one that can't be read is left out."""
    found = {}
    for path in sorted(FOLDER.glob("*.json")):
        try:
            found[path.stem] = from_json(path.read_bytes())
        except (OSError, UserError) as error:
            logging.getLogger(__name__).warning("No recorded conversation: %s", error)
    return found


def names() -> list[str]:
    """Keys of the recordings."""
    return list(_all())


def record(name: str) -> Record:
    """One of them.

    Raises:
        UserError: if there is none of that name.
    """
    if name not in _all():
        raise UserError("That recording did not come with this copy.")
    return _all()[name]


def offered() -> list[dict[str, str]]:
    """What an empty transcript offers: key, title, a line about each."""
    return [
        {"key": name, "title": str(one.get("title") or name), "words": _about(one)}
        for name, one in _all().items()
    ]


def nodes(name: str) -> tuple[Node, ...]:
    """The open branch of a recording, with its tokens; () if there is none of that name."""
    if name not in _all():
        return ()
    shown = {one["id"] for one in branch(_all()[name])}
    return tuple(replace(n, siblings=(n.id,)) for n in nodes_of(_all()[name]) if n.id in shown)


def nodes_of(record: Mapping[str, Any]) -> list[Node]:
    """All messages of a checked record, parents before children."""
    return [
        Node(
            one["id"],
            one["role"],
            str(one.get("text") or ""),
            one.get("parent"),
            (one["id"],),
            shaped(one["answer"]) if one["role"] == "assistant" else {},
        )
        for one in record["messages"]
    ]


def _about(record: Record) -> str:
    sides: list[Any] = next(
        (m["answer"]["sides"] for m in record["messages"] if m.get("answer")), []
    )
    return f"{record.get('model', '')}: " + " · ".join(_named(side) for side in sides)


def _named(side: Mapping[str, Any]) -> str:
    mask = side.get("mask")
    if mask is None:
        return "full cache"
    return f"{mask['name']} mask, {percent(mask['sparsity'])} of {mask['heads']} heads compressed"
