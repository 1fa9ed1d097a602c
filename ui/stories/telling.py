"""What stories are made of: steps with words and widgets, and the records they are told from.

The records are written by `examples/record_stories.py`; no model runs here. Words are HTML of
ours in which everything recorded is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ui.components.headmap import head_map_value
from ui.studio import EXAMPLES

Record = dict[str, Any]
FOLDER = EXAMPLES / "stories"


@dataclass(frozen=True)
class Widget:
    """One thing to look at: `kind` is "chart", "tokens", "map" or "race"."""

    kind: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One screen of a story."""

    title: str
    words: list[str]
    """Paragraphs, HTML."""
    widgets: list[Widget]


@dataclass(frozen=True)
class Story:
    """A story as the page tells it."""

    key: str
    title: str
    blurb: str
    steps: list[Step]

    def to_value(self) -> dict[str, Any]:
        """Plain data for the browser."""
        return asdict(self)


def read(key: str) -> Record:
    """The record of one story.

    Raises:
        OSError, ValueError: if it is not there or is damaged.
    """
    record: Record = json.loads((FOLDER / f"{key}.json").read_text())
    return record


def percent(share: float) -> str:
    """A share as readers say it: 98 %, 0.4 %."""
    value = 100 * share
    digits = 0 if value >= 9.95 or value in (0, 100) else 1
    text = f"{value:.{digits}f}"
    return f"{'more than 99' if text == '100' and share < 1 else text.removesuffix('.0')} %"


def quoted(piece: str) -> str:
    """HTML of a token."""
    return f'<code class="piece">{escape(piece.strip() or piece)}</code>'


def head(cell: Sequence[int]) -> str:
    """A head's name, layer and KV head."""
    return f"head&nbsp;{int(cell[0])}.{int(cell[1])}"


def kept_of(record: Record) -> NDArray[np.bool_]:
    """Kept heads of the recorded mask [layers, kv_heads]."""
    return np.asarray(record["kept"], dtype=bool)


def share_map(
    table: Sequence[Sequence[float]],
    *,
    title: str,
    column: str,
    low: str,
    high: str,
    selected: Sequence[int],
    texts: list[list[str]] | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> Widget:
    """A head map of shares from 0 to 1."""
    shares = np.asarray(table, dtype=np.float64)
    words = [[percent(float(v)) for v in row] for row in shares]
    value = head_map_value(
        shares,
        kept=kept,
        view="share",
        scale="rank",
        texts=texts or [[f"{100 * v:.0f}" for v in row] for row in shares.tolist()],
        hover=[[f"{column} {word}" for word in row] for row in words],
        selected=(int(selected[0]), int(selected[1])),
        legend={"low": low, "high": high},
        name=title,
        column=column,
        file=column.replace(" ", "-"),
    )
    return Widget("map", {**value, "title": title})


def turns(pieces: Sequence[str]) -> list[int]:
    """Where the answer's turn begins: a line break for the token view."""
    return [i for i, piece in enumerate(pieces) if piece == "<|assistant|>"]


def race(record: Record, hints: tuple[str, str]) -> Widget:
    """A recorded race, each side with its hint."""
    recording = record["race"]
    sides = []
    for side, role, hint in zip(recording["sides"], ("full", "compressed"), hints, strict=True):
        name = role.capitalize()
        sides.append({**side, "role": role, "short": name, "label": name, "hint": hint})
    length = min(side["steps"][-1]["length"] for side in sides)
    value = {"prompt": recording["prompt"], "sides": sides, "agree": f"at {length} tokens"}
    return Widget("race", value)


def final(side: Record) -> str:
    """What one side of a race answered after its thoughts."""
    text: str = side["steps"][-1]["text"]
    return text.rpartition("</think>")[2].strip()


def verdict(right: bool) -> str:
    """HTML of right or wrong."""
    return '<b class="good">right</b>' if right else '<b class="bad">wrong</b>'
