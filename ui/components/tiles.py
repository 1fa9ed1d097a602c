"""A row of figures. Escapes what it shows."""

from __future__ import annotations

from html import escape
from typing import NamedTuple


class Tile(NamedTuple):
    """One figure: `role` colours it as "full" or "comp"; `key` names it for tests and scripts.

    `title` is said of it on hovering.
    """

    name: str
    value: str
    unit: str = ""
    role: str = ""
    key: str = ""
    title: str = ""


def tiles(items: list[Tile]) -> str:
    """HTML of the row."""
    cells = []
    for item in items:
        unit = f" <small>{escape(item.unit)}</small>" if item.unit else ""
        key = escape(item.key or item.name.lower().replace(" ", "-"))
        title = f' title="{escape(item.title)}"' if item.title else ""
        cells.append(
            f'<div class="tile"{title}><dt>{escape(item.name)}</dt>'
            f'<dd class="{escape(item.role)}" data-figure="{key}">{escape(item.value)}{unit}</dd>'
            "</div>"
        )
    return f'<dl class="tiles">{"".join(cells)}</dl>'
