"""Curves of many methods with intervals, as a value that `static/evalcurves.js` draws.

Knows the results of an evaluation, no job and no page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from rlkv.evaluation.results import Point, Results, Series
from ui.components.drawn import drawn
from ui.units import bytes_text, percent

AXES = [
    {"short": "Sparsity", "title": "Share of KV heads compressed", "unit": "%"},
    {
        "short": "KV bytes",
        "title": "Measured KV bytes of an answer at its end, mean",
        "unit": "B",
    },
    {
        "short": "Bytes a token",
        "title": "Measured KV bytes for each token in the cache, mean",
        "unit": "B",
    },
]


def curves_view(elem_id: str) -> gr.HTML:
    """The component; empty until it is given a value."""
    return drawn("rlkvEvalCurves", "curves-root", elem_id, classes="chart-box")


def accuracy_curves(
    found: Results, *, top: bool = False, mark: tuple[Series, Point, float] | None = None
) -> dict[str, Any] | None:
    """Accuracy with its interval; `top` shows the experiment that compresses the best heads.

    `mark` is the near-lossless point: which series, where, and the tolerance.
    """
    series = [one for one in found.series if one.top == top and _complete(one)]
    if not series or found.full is None or not found.full.complete:
        return None
    title = "Accuracy when the top of a ranking is compressed" if top else "Accuracy"
    note = (
        "The more a ranking is right about what matters, the sooner its curve falls."
        if top
        else "Whiskers: 95 % bootstrap intervals over problems, of Random over masks too. Point "
        "at a mark for its numbers."
    )
    value = _value(title, note, "%", found.full, series, lambda p: (p.accuracy, *p.interval))
    value["axes"] = AXES[:1] if top else AXES
    value["name"] = "accuracy-top" if top else "accuracy"
    if mark is not None:
        one, point, tolerance = mark
        value["mark"] = {
            "series": one.key,
            "x": point.sparsity,
            "text": f"near-lossless within {100 * tolerance:g} points",
        }
    return value


def length_curves(found: Results) -> dict[str, Any] | None:
    """Mean length of an answer: shorter or longer than the full cache's is a warning."""
    series = [one for one in found.series if not one.top and _complete(one)]
    if not series or found.full is None or not found.full.complete:
        return None
    note = "A method that makes answers longer spends what it saves."
    value = _value(
        "Tokens of an answer, mean", note, "", found.full, series,
        lambda p: (p.tokens, p.tokens, p.tokens),
    )  # fmt: skip
    return {**value, "axes": AXES[:1], "name": "lengths"}


def _value(
    title: str,
    note: str,
    unit: str,
    full: Point,
    series: Sequence[Series],
    y: Callable[[Point], tuple[float, float, float]],
) -> dict[str, Any]:
    shapes: dict[str, int] = {}
    drawn = []
    for one in series:
        shape = shapes[one.method] = shapes.get(one.method, -1) + 1
        points = [_point(p, *y(p)) for p in _complete(one)]
        drawn.append(
            {
                "key": one.key,
                "title": one.title,
                "colour": one.method,
                "shape": SHAPE.get(one.method, 0) + shape,
                "points": points,
            }
        )
    best = max(series, key=lambda one: y(_complete(one)[-1])[0])
    return {
        "title": title,
        "note": note,
        "unit": unit,
        "full": dict(zip(("y", "lo", "hi"), y(full), strict=True)) | {"x": _x(full)},
        "series": drawn,
        "mark": None,
        "summary": f"{title} of {len(series)} methods; {best.title} is the highest at its end",
    }


def _complete(series: Series) -> list[Point]:
    """Points still being measured are left out: short problems come first."""
    return [point for point in series.points if point.complete]


SHAPE = {"learned": 0, "kept": 2, "duo": 2, "far": 3, "reward_gradient": 4, "random": 1,
         "inverse": 5, "streaming": 5, "h2o": 1, "rkv": 6}  # fmt: skip


def _x(point: Point) -> list[float]:
    return [point.sparsity, point.kv_bytes, point.kv_bytes / max(point.length, 1.0)]


def _point(point: Point, y: float, low: float, high: float) -> dict[str, Any]:
    facts = [
        ("Right", f"{percent(point.accuracy, 1)} ({_span(point.interval)})"),
        ("Asked", f"{point.samples:,} answers, {point.problems:,} problems"),
        ("Tokens", f"{point.tokens:.1f}"),
        ("KV bytes", bytes_text(point.kv_bytes)),
        ("Cut off", percent(point.modes["overlong"], 1)),
        ("Repetitive", percent(point.modes["repetitive"], 1)),
    ]
    if point.difference is not None and point.difference_interval is not None:
        low_gap, high_gap = point.difference_interval
        text = f"{100 * point.difference:+.1f} ({100 * low_gap:+.1f} to {100 * high_gap:+.1f})"
        facts.insert(1, ("To full", f"{text} points"))
    return {
        "sparsity": point.sparsity,
        "kept": point.kept,
        "x": _x(point),
        "y": y,
        "lo": low,
        "hi": high,
        "facts": facts,
    }


def _span(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
