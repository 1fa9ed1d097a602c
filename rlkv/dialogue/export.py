"""Conversations as files: JSON that can be read back and replayed, Markdown for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rlkv.dialogue.record import MOST_BYTES, VERSION, branch, checked
from rlkv.errors import UserError

STOP_WORDS = {
    "end": "it ended by itself",
    "length": "longest answer reached",
    "repetition": "it repeated itself",
    "stopped": "stopped by hand",
    "memory": "no memory left",
}


def make_record(
    *,
    title: str,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    leaf: int | None = None,
    created_at: float = 0.0,
) -> dict[str, Any]:
    """The record of a conversation (`rlkv.dialogue.record.Conversation`), checked.

    Each message has id, parent, role, text, and if it is an answer, `answer`.

    Raises:
        UserError: if they are none.
    """
    whole = {
        "rlkv_chat": VERSION, "title": title, "model": model, "created_at": created_at,
        "leaf": leaf, "messages": [dict(one) for one in messages],
    }  # fmt: skip
    return checked(whole)


def to_json(record: Mapping[str, Any]) -> str:
    """All branches, with every token and what it cost."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(data: str | bytes) -> dict[str, Any]:
    """A record back from JSON, checked.

    Raises:
        UserError: in one line, what is wrong with it.
    """
    if len(data) > MOST_BYTES:
        raise UserError(
            f"The file has {len(data):,} bytes; a conversation has at most {MOST_BYTES:,}."
        )
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(
            "That file is no JSON: choose a conversation that this app exported."
        ) from error
    return checked(record)


def to_markdown(record: Mapping[str, Any]) -> str:
    """The open branch with its figures. A blind comparison without a vote stays blind."""
    whole = checked(dict(record))
    parts = [f"# {_line(whole.get('title') or 'Conversation')}", f"Model: {_line(whole['model'])}"]
    for one in branch(whole):
        if one["role"] == "user":
            parts += ["## Question", _block(one["text"])]
        else:
            parts += _answer(one["answer"])
    return "\n\n".join(parts) + "\n"


def _answer(answer: Mapping[str, Any]) -> list[str]:
    sides, order = answer["sides"], answer.get("order")
    parts = ["## Answers" if len(sides) > 1 else "## Answer"]
    if answer.get("words"):
        parts.append(_line(answer["words"]))
    if order is not None and answer.get("vote") is None:
        for name, place in zip("AB", order, strict=False):
            parts += [f"### {name}", _block(sides[place]["text"])]
        return parts
    parts.append(_table(sides))
    for side in sides:
        parts += [f"### {_line(side.get('name') or 'Answer')}", _block(side["text"])]
    return parts


def _table(sides: Sequence[Mapping[str, Any]]) -> str:
    """The figures of all sides, as the engine reported them."""
    head = (
        "| side | heads compressed | tokens | KV bytes | tokens/s | first token | why it stopped |"
    )
    lines = [head, "|---" * 7 + "|"]
    for side in sides:
        now, mask = side.get("now") or {}, side.get("mask")
        cells = [
            _line(side.get("name") or "answer").replace("|", "\\|"),
            "none" if mask is None else f"{100 * mask.get('sparsity', 0):.0f} %",
            f"{now.get('tokens', 0):,}",
            f"{now.get('bytes', 0):,}",
            f"{now.get('speed', 0):.1f}",
            f"{now.get('first', 0):.2f} s",
            STOP_WORDS.get(now.get("stop") or "", ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{_same(side['prefix'])}" for side in sides if side.get("prefix") is not None]
    return "\n".join(lines)


def _same(tokens: int) -> str:
    if not tokens:
        return "The first token differs from that of the first side."
    return f"The first {tokens:,} tokens are the same as on the first side."


def _block(text: str) -> str:
    """A text as it is: in a fence longer than any that it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _line(text: str) -> str:
    """A text on one line, with nothing that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(text.split()))
