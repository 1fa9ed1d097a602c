"""What a blind comparison shows before the vote: two answers, A and B, and nothing else.

Everything sent to the page goes through `concealed`, so that neither names, bytes, speeds, colours
nor the order of the sides can tell them apart.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

Side = dict[str, Any]
NAMES = ("A", "B")


def shuffled() -> tuple[int, int]:
    """Which side is shown as A and which as B, by chance."""
    return (0, 1) if secrets.randbelow(2) else (1, 0)


def concealed(sides: Sequence[Side], order: Sequence[int]) -> list[Side]:
    """The sides as A and B, with their texts, their lengths and why they ended."""
    bare = [_bare(sides[place], shown) for shown, place in enumerate(order)]
    # Which of the two is compared with which is told by neither: it stands beside B.
    prefix, diff = sides[1].get("prefix"), sides[1].get("diff")
    if prefix is not None:
        bare[1]["prefix"] = prefix
    bare[1]["diff"] = {"at": diff["at"], "tokens": None, "p": None} if diff else None
    return bare


def visible_lengths(counts: Sequence[int], ended: Sequence[bool]) -> list[int]:
    """How many tokens of each side may be shown: none may be ahead of one that still writes."""
    running = [n for n, over in zip(counts, ended, strict=True) if not over]
    cap = min(running, default=max(counts, default=0))
    return [min(n, cap) for n in counts]


def _bare(side: Side, shown: int) -> Side:
    now = side.get("now") or {}
    stop = now.get("stop")
    bare: Side = {
        "slot": shown,
        "role": "ab"[shown],
        "name": NAMES[shown],
        "hint": "",
        "now": {"tokens": now.get("tokens", 0), "stop": "stopped" if stop == "memory" else stop},
        "opening": side.get("opening", ""),
        "breaks": [],
    }
    if "cols" in side:
        bare["cols"] = {"t": side["cols"]["t"]}
    if "from" in side:
        bare["from"] = side["from"]
    return bare
