"""One Plotly figure for each thing measured, over the context; plotly is loaded here only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import log10

import plotly.graph_objects as go

from rlkv.benchmark.rows import Numbers, Row
from rlkv.benchmark.tables import contender_names

# The app's two colours, as in `ui/theme.py`: full cache, compressed cache.
FULL, COMPRESSED = "#2563c9", "#e07a1a"
INK, MUTED, GRID = "#171a20", "#5a616e", "#e4e2da"

COLOURS = {
    "split": COMPRESSED,
    "full": FULL,
    "stock": "#5a616e",
    "static": "#8a4fa8",
    "fp8": "#0f8a66",
    "quanto-4bit": "#b3306b",
    "hqq-4bit": "#6d7a1c",
    "offloaded": "#8c6b4f",
}
SYMBOLS = ("circle", "square", "diamond", "x", "cross", "triangle-up", "triangle-down", "star")
"""By order of `COLOURS`: contenders can be told apart without their colours too."""

Points = Callable[[Row], float | None]


@dataclass(frozen=True)
class Chart:
    """What one figure shows: a line for each contender, thin ones for what is expected."""

    key: str
    title: str
    unit: str
    note: str
    lines: dict[str, Points]
    expected: dict[str, Points] = field(default_factory=dict)


def charts(rows: Sequence[Row]) -> list[Chart]:
    """The charts that have something to show in these rows."""
    names = contender_names(rows)
    return [
        chart
        for chart in _all_charts(names)
        if any(points(row) is not None for points in chart.lines.values() for row in rows)
    ]


def _all_charts(names: Sequence[str]) -> list[Chart]:
    def each(value: Callable[[Numbers], float | None]) -> dict[str, Points]:
        return {name: _of(name, value) for name in names}

    held = "Storage of the cache's tensors after the last token. Thin lines: the formula."
    decode = "Whole batch, by the median step; contenders take turns token by token."
    prefill = "Whole batch; contenders take turns chunk by chunk."
    peak = "Growth above the level before, each contender alone: cache and working memory."
    attention = "Time of a decoded token within attention. Thin line: by the number of keys read."
    formula: dict[str, Points] = {
        "split": lambda row: row.kv_bytes_formula / 1e6,
        "full": lambda row: row.kv_bytes_formula_full / 1e6,
    }
    speedup: dict[str, Points] = {
        "split": lambda row: row.attention_speedup,
        "full": lambda row: 1.0,
    }
    ideal: dict[str, Points] = {"split": lambda row: row.attention_speedup_ideal}
    unit = "times the full cache's speed"
    return [
        Chart("kv", "KV cache", "MB", held, each(lambda n: n.kv_bytes / 1e6), formula),
        Chart("decode", "Decoding", "tokens/s", decode, each(lambda n: n.decode_tokens_per_s)),
        Chart("prefill", "Prefill", "tokens/s", prefill, each(lambda n: n.prefill_tokens_per_s)),
        Chart("peak", "Peak memory", "MB", peak, each(_peak_megabytes)),
        Chart("attention", "Attention alone", unit, attention, speedup, ideal),
    ]


def _peak_megabytes(numbers: Numbers) -> float | None:
    return None if numbers.peak_bytes is None else numbers.peak_bytes / 1e6


def _of(name: str, value: Callable[[Numbers], float | None]) -> Points:
    def point(row: Row) -> float | None:
        numbers = row.by_contender.get(name)
        return None if numbers is None else value(numbers)

    return point


def figure(chart: Chart, rows: Sequence[Row], shown: str) -> go.Figure:
    """All settings' lines; those of the setting `shown` are visible, `meta` names each one's."""
    out = go.Figure()
    for setting in dict.fromkeys(row.setting for row in rows):
        own = sorted((row for row in rows if row.setting == setting), key=lambda row: row.context)
        for trace in _traces(chart, own):
            trace.update(meta=setting, visible=setting == shown)
            out.add_trace(trace)
    contexts = sorted({row.context for row in rows})
    out.update_layout(
        template="plotly_white",
        height=330,
        margin={"l": 8, "r": 12, "t": 10, "b": 8},
        showlegend=False,
        hovermode="x unified",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
        dragmode=False,  # else a finger that scrolls the page would zoom
    )
    out.update_xaxes(
        type="log",
        title="context, tokens",
        tickvals=contexts,
        ticktext=[f"{context:,}" for context in contexts],
        automargin=True,
        gridcolor=GRID,
        showspikes=False,
        range=_padded(contexts),
    )
    out.update_yaxes(title=chart.unit, rangemode="tozero", automargin=True, gridcolor=GRID)
    return out


def _traces(chart: Chart, rows: Sequence[Row]) -> Iterator[go.Scatter]:
    contexts = [row.context for row in rows]
    for name, points in chart.lines.items():
        colour = COLOURS.get(name, MUTED)
        yield go.Scatter(
            x=contexts,
            y=[points(row) for row in rows],
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5 if name in ("split", "full") else 1.8},
            marker={"size": 8, "symbol": symbol(name)},
            hovertemplate="%{y:,.4~r}",
        )
    for name, points in chart.expected.items():
        yield go.Scatter(
            x=contexts,
            y=[points(row) for row in rows],
            name=f"{name}, expected",
            mode="lines+markers",
            line={"color": INK, "width": 1, "dash": "dot"},
            marker={"symbol": "line-ew-open", "size": 18, "color": INK},
            hovertemplate="%{y:,.4~r}",
        )


def symbol(name: str) -> str:
    """The marker of a contender."""
    order = list(COLOURS)
    return SYMBOLS[order.index(name)] if name in order else SYMBOLS[0]


def _padded(contexts: Sequence[int]) -> list[float]:
    """Axis range in decades: a single context stands in the middle."""
    low, high = log10(contexts[0]), log10(contexts[-1])
    pad = max(0.06 * (high - low), 0.05)
    return [low - pad, high + pad]
