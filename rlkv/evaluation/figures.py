"""The curves of an evaluation as Plotly figures, for the exported page; loads plotly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import plotly.graph_objects as go

from rlkv.evaluation.results import Point, Results, Series
from rlkv.evaluation.samples import VERDICTS

COLOURS = (
    "#e07a1a", "#2563c9", "#0f8a66", "#8a4fa8", "#b3306b", "#6d7a1c", "#8c6b4f", "#171a20",
    "#1c8fa3", "#c0392b",
)  # fmt: skip
SYMBOLS = (
    "circle", "square", "diamond", "x", "cross", "triangle-up", "triangle-down", "star", "hexagon",
    "pentagon",
)  # fmt: skip
X = Callable[[Point], float]


def figures(results: Results) -> Iterator[tuple[str, go.Figure]]:
    """(title, figure): what there is to show, without points that are still being measured."""
    results = results.measured()
    bottom = [one for one in results.series if not one.top]
    top = [one for one in results.series if one.top]
    by_sparsity = ("Sparsity (share of KV heads compressed)", lambda p: p.sparsity)
    by_bytes = ("Mean measured KV bytes of an answer at its end", lambda p: p.kv_bytes)
    yield "Accuracy against sparsity", _accuracy(results, bottom, *by_sparsity)
    yield "Accuracy against measured KV bytes", _accuracy(results, bottom, *by_bytes)
    yield "Length of an answer", _lengths(bottom)
    yield "How answers ended", _modes(results, bottom)
    if top:
        title = "Share of KV heads compressed, from the top of the ranking"
        yield (
            "Compressing the top of each ranking",
            _accuracy(results, top, title, lambda p: p.sparsity),
        )


def _accuracy(results: Results, series: list[Series], title: str, x: X) -> go.Figure:
    out = _empty(title, "Accuracy")
    out.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    if results.full:
        out.add_hline(y=results.full.accuracy, line={"dash": "dot", "color": "#5a616e"})
    for number, one in enumerate(series):
        points = sorted(one.points, key=x)
        out.add_trace(
            go.Scatter(
                x=[x(p) for p in points],
                y=[p.accuracy for p in points],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [p.interval[1] - p.accuracy for p in points],
                    "arrayminus": [p.accuracy - p.interval[0] for p in points],
                    "thickness": 1,
                },
                name=one.title,
                mode="lines+markers",
                line={"color": COLOURS[number % len(COLOURS)]},
                marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8},
            )
        )
    return out


def _lengths(series: list[Series]) -> go.Figure:
    out = _empty("Sparsity (share of KV heads compressed)", "Tokens of an answer, mean")
    for number, one in enumerate(series):
        out.add_trace(
            go.Scatter(
                x=[p.sparsity for p in one.points],
                y=[p.tokens for p in one.points],
                name=one.title,
                mode="lines+markers",
                line={"color": COLOURS[number % len(COLOURS)]},
                marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8},
            )
        )
    return out


def _modes(results: Results, series: list[Series]) -> go.Figure:
    out = _empty("", "Share of answers")
    points = [("Full cache", results.full)] if results.full else []
    points += [(f"{s.title}, {100 * p.sparsity:.4g}%", p) for s in series for p in s.points]
    for verdict, colour in zip(VERDICTS, ("#0f8a66", "#b3306b", "#8c6b4f", "#8a4fa8"), strict=True):
        out.add_trace(
            go.Bar(
                x=[name for name, _ in points],
                y=[p.modes[verdict] for _, p in points if p],
                name=verdict,
                marker={"color": colour},
            )
        )
    out.update_layout(barmode="stack")
    return out


def _empty(x: str, y: str) -> go.Figure:
    out = go.Figure()
    out.update_layout(
        template="plotly_white",
        height=420,
        margin={"l": 8, "r": 12, "t": 10, "b": 8},
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": -0.25},
        paper_bgcolor="#ffffff",
    )
    out.update_xaxes(title=x, automargin=True)
    out.update_yaxes(title=y, automargin=True, rangemode="tozero")
    return out
