"""Small charts in the app's one design: bars, lines, stacked shares; drawn by `static/charts.js`.

The values are plain data, made here and checked here. Knows numbers and words, nothing of
masks, models or pages. Colours go by role: "full" and "comp" for what they mean everywhere,
"reward", "ink" and "soft" for the rest, "sink", "recent" and "far" for shares of attention.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import gradio as gr
from numpy.typing import NDArray

from ui.components.drawn import drawn

Role = Literal["full", "comp", "reward", "ink", "soft", "sink", "recent", "far", "bad"]
Unit = str
"""What numbers are: "%" (a share of 1), "B" (bytes), "" or a word that follows the number."""
Numbers = Sequence[float] | NDArray[Any]
Value = dict[str, Any]
Series = dict[str, Any]


def bars_value(
    title: str,
    values: Numbers | Sequence[Series],
    labels: Sequence[str] | None = None,
    *,
    edges: Numbers | None = None,
    role: Role = "ink",
    roles: Sequence[Role] | None = None,
    marker: tuple[float, str] | None = None,
    **common: Any,
) -> Value:
    """Bars: a histogram with `edges` [n + 1], or one bar for each of `labels` [n].

    `values` are numbers [n], or several series made by `series` which are stacked. `roles` colours
    bars one by one. `marker` is (x, words): x on the scale of the edges, or in bars from the left.
    `common` as in `_common`.
    """
    stacked = [v for v in values if isinstance(v, dict)]
    many = stacked or [{"name": "", "role": role, "values": _clean(values), "roles": roles}]
    names = list(labels) if labels is not None else _spans([] if edges is None else edges)
    for one in many:
        if len(one["values"]) != len(names):
            raise ValueError(f"{len(one['values'])} bars with {len(names)} labels")
    if edges is not None and len(edges) != len(names) + 1:
        raise ValueError(f"{len(names)} bars need {len(names) + 1} edges, not {len(edges)}")
    value = _common("bars", title, **common)
    value.update(series=many, labels=names, edges=None if edges is None else _clean(edges))
    value.update(marker=_marker(marker))
    value["summary"] = value["summary"] or _bars_words(title, names, many)
    return value


def lines_value(
    title: str,
    series: Sequence[Series],
    *,
    marker: tuple[float, str] | None = None,
    dots: bool = False,
    ends: bool = False,
    x_range: tuple[float, float] | None = None,
    x_unit: Unit = "",
    y2: str = "",
    unit2: Unit = "",
    range2: tuple[float, float] | None = None,
    **common: Any,
) -> Value:
    """Lines made by `line`; `ends` writes their names at their right ends where there is room.

    `y2`, `unit2` and `range2` belong to the axis of series with `right=True`.
    """
    value = _common("lines", title, **common)
    value.update(series=list(series), marker=_marker(marker), dots=dots, ends=ends)
    value.update(xRange=x_range, xUnit=x_unit, y2=y2, unit2=unit2, range2=range2)
    value["summary"] = value["summary"] or _lines_words(title, series)
    return value


def stack_value(
    title: str,
    parts: Sequence[tuple[str, Role]],
    shares: Sequence[float] | Sequence[tuple[str, Sequence[float]]],
    **common: Any,
) -> Value:
    """Shares that sum to one: `parts` are (name, role); `shares` one row, or (label, row) each."""
    rows = [
        {"label": one[0], "shares": _clean(one[1])} for one in shares if isinstance(one, tuple)
    ] or [{"label": "", "shares": _clean(shares)}]
    for row in rows:
        if len(row["shares"]) != len(parts):
            raise ValueError(f"{len(row['shares'])} shares for {len(parts)} parts")
    value = _common("stack", title, **common)
    value.update(rows=rows, series=[{"name": name, "role": role} for name, role in parts])
    first = zip(parts, rows[0]["shares"], strict=True)
    words = ", ".join(f"{part[0]} {100 * (share or 0):.0f} %" for part, share in first)
    value["summary"] = value["summary"] or f"{title}: {words}"
    return value


def series(name: str, role: Role, values: Numbers) -> Series:
    """One part of stacked bars."""
    return {"name": name, "role": role, "values": _clean(values)}


def line(
    name: str,
    role: Role,
    points: Sequence[tuple[float, float]],
    *,
    right: bool = False,
    step: bool = False,
    dots: bool = False,
    faint: bool = False,
) -> Series:
    """One line through `points` (x, y).

    `step` holds a value until the next point, `dots` marks the points, `faint` puts the line into
    the background, without a key or a read-out.
    """
    clean = [_clean(point) for point in points]
    axis = "right" if right else "left"
    looks = {"step": step, "dots": dots, "faint": faint}
    return {"name": name, "role": role, "points": clean, "axis": axis, **looks}


def chart(value: Value | None, elem_id: str) -> gr.HTML:
    """A component that draws the value it holds; update it with a new value."""
    return drawn("rlkvCharts", "chart-root", elem_id, value=value, classes="chart-box")


def _common(
    kind: str,
    title: str,
    *,
    x: str = "",
    y: str = "",
    unit: Unit = "",
    range: tuple[float, float] | None = None,
    name: str = "",
    note: str = "",
    summary: str = "",
    height: int | None = None,
    hover: Sequence[str] | None = None,
    export: bool = True,
) -> Value:
    """What all charts have: titles of the axes, the unit and range of y, the file name of exports.

    `note` is read where the read-out stands while nothing is pointed at; `hover` names the bars in
    the read-out where their labels are too short.
    """
    return {
        "kind": kind,
        "title": title,
        "x": x,
        "y": y,
        "unit": unit,
        "range": range,
        "name": name or re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"),
        "note": note,
        "summary": summary,
        "height": height,
        "hover": None if hover is None else list(hover),
        "export": export,
    }


def _marker(marker: tuple[float, str] | None) -> Value | None:
    return None if marker is None else {"x": float(marker[0]), "text": marker[1]}


def _clean(values: Sequence[Any] | NDArray[Any]) -> list[float | None]:
    """Plain floats of six digits; what is not finite becomes a hole, for JSON has no NaN."""
    return [float(f"{float(v):.6g}") if math.isfinite(float(v)) else None for v in values]


def _spans(edges: Numbers) -> list[str]:
    return [f"{a:g} to {b:g}" for a, b in pairwise(edges)]


def _bars_words(title: str, names: Sequence[str], many: Sequence[Series]) -> str:
    totals = [sum(one["values"][i] or 0 for one in many) for i in range(len(names))]
    if not totals:
        return f"{title}: no data"
    top = max(range(len(totals)), key=totals.__getitem__)
    return f"{title}: {len(totals)} bars, highest at {names[top]} ({totals[top]:.3g})"


def _lines_words(title: str, many: Sequence[Series]) -> str:
    words = [
        f"{one['name'] or 'line'} from {one['points'][0][1]} to {one['points'][-1][1]}"
        for one in many
        if one["points"]
    ]
    return f"{title}: {'; '.join(words) or 'no data'}"
