"""All heads in a table that sorts and filters in the browser; drawn by `static/headtable.js`.

Knows rows of numbers, not where they were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.components.drawn import drawn


@dataclass(frozen=True)
class Column:
    """One number of every head."""

    title: str
    what: str
    """One sentence, shown at the heading."""
    rank: bool = False
    """Whether small numbers are the high ones."""


@dataclass(frozen=True)
class HeadRow:
    """One head: its name such as `2.5`, the address of its page, and its numbers by column."""

    head: str
    href: str
    kept: bool
    values: Sequence[float]


def head_table(elem_id: str) -> gr.HTML:
    """The component; empty until it is given a value."""
    return drawn("rlkvHeadTable", "head-table", elem_id)


def head_table_value(columns: Sequence[Column], rows: Sequence[HeadRow]) -> dict[str, Any]:
    """What the browser shows, the rows in their first order.

    Raises:
        ValueError: if a row has not as many numbers as there are columns.
    """
    if any(len(row.values) != len(columns) for row in rows):
        raise ValueError(f"every row needs {len(columns)} numbers")
    return {
        "columns": [{"title": c.title, "what": c.what, "rank": c.rank} for c in columns],
        "rows": [
            {"head": r.head, "href": r.href, "kept": r.kept, "values": list(r.values)} for r in rows
        ],
    }
