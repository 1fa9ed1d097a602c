"""Conversations as files: Markdown for people, JSON that can be brought back and replayed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rlkv.dialogue.export import from_json, make_record, to_json, to_markdown
from rlkv.errors import UserError
from ui.chat import recorded
from ui.chat.kept import Node
from ui.chat.screen import Desk, Screen
from ui.downloads import new_folder

VOTE_FIRST = "A blind comparison is open in it: vote first, for the file tells the sides apart."


def write(desk: Desk, screen: Screen, kind: str) -> Path:
    """Writes the open conversation to a file to be taken; `kind` is "md" or "json".

    Raises:
        UserError: if none is open, or the file would decide a blind comparison.
    """
    record = record_of(desk, screen)
    if kind == "json" and any(_undecided(m.get("answer") or {}) for m in record["messages"]):
        raise UserError(VOTE_FIRST)
    words = re.sub(r"[^A-Za-z0-9]+", "-", record.get("title") or "").strip("-")[:50]
    path = new_folder("chat") / f"{words or 'conversation'}.{kind}"
    path.write_text(to_json(record) if kind == "json" else to_markdown(record), encoding="utf-8")
    return path


def read(desk: Desk, path: Path) -> tuple[str, str]:
    """Keeps the conversation of a JSON file; returns its id and its title.

    Raises:
        UserError: if it can't be read.
    """
    record = from_json(path.read_bytes())
    title = str(record.get("title") or "Conversation")
    nodes = recorded.nodes_of(record)
    chat = desk.kept.bring(str(record.get("model") or ""), title, nodes, record.get("leaf"))
    return chat, title


def record_of(desk: Desk, screen: Screen) -> dict[str, Any]:
    """The record of the open conversation, with all its branches.

    Raises:
        UserError: if none is open.
    """
    if screen.recording is not None:
        return recorded.record(screen.recording)
    if screen.chat is None:
        raise UserError("Open a conversation first, or ask something.")
    chat = desk.kept.chat(screen.chat)
    return make_record(
        title=chat.title,
        model=chat.model,
        created_at=chat.created_at,
        leaf=chat.leaf,
        messages=[_message(node) for node in desk.kept.everything(screen.chat)],
    )


def _message(node: Node) -> dict[str, Any]:
    said: dict[str, Any] = {"id": node.id, "parent": node.parent, "role": node.role}
    said["text"] = node.text
    if node.role == "assistant":
        said["answer"] = node.answer
    return said


def _undecided(answer: dict[str, Any]) -> bool:
    return answer.get("order") is not None and answer.get("vote") is None
