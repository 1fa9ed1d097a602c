"""Training curves as Plotly JSON. Knows names of series, no jobs."""

from __future__ import annotations

import math
from typing import Any

from gradio.components.plot import PlotData

from ui.components.heatmap import plotly
from ui.theme import COMPRESSED, FULL, REWARD

Points = list[tuple[int, float]]
LINES = (
    ("reward", "Reward", REWARD),
    ("gate_mean", "Mean gate", FULL),
    ("sparsity", "Sparsity", COMPRESSED),
)


LEGEND = '<div class="legend">{}</div>'.format(
    "".join(
        f'<span><i class="dash" style="background:{c}"></i>{title}</span>' for _, title, c in LINES
    )
)


def training_curves(series: dict[str, Points], total: int) -> PlotData:
    """Reward (raw, faint, behind its running mean), mean gate and sparsity over the steps."""
    traces = []
    for name, title, color in LINES:
        points = [(x, y) for x, y in series.get(name, []) if math.isfinite(y)]
        if name == "reward":
            traces.append(_line(points, title, color, faint=True))
            points = running_mean(points)
        traces.append(_line(points, title, color))
    return plotly(traces, _layout(max(total, 1)))


def running_mean(points: Points, weight: float = 0.85) -> Points:
    """Exponential running mean, corrected for its start."""
    smooth: Points = []
    total, mass = 0.0, 0.0
    for step, value in points:
        total = weight * total + value
        mass = weight * mass + 1.0
        smooth.append((step, total / mass))
    return smooth


def _line(points: Points, title: str, color: str, *, faint: bool = False) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(points) == 1 else "lines",
        "name": title,
        "x": [step for step, _ in points],
        "y": [round(value, 4) for _, value in points],
        "line": {"color": color, "width": 1 if faint else 2.5},
        "opacity": 0.35 if faint else 1,
        "hoverinfo": "skip" if faint else "all",
        "hovertemplate": None if faint else "%{y:.3f}",
    }


def _layout(total: int) -> dict[str, Any]:
    axis = {"zeroline": False, "fixedrange": True, "ticks": ""}
    return {
        "height": 250,
        "margin": {"l": 34, "r": 8, "t": 10, "b": 36},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "IBM Plex Sans, system-ui, sans-serif", "size": 12},
        "hovermode": "x unified",
        "dragmode": False,
        "showlegend": False,
        "xaxis": {**axis, "range": [0, total], "showgrid": False, "title": {"text": "step"}},
        "yaxis": {**axis, "range": [-0.02, 1.03], "tickvals": [0, 0.25, 0.5, 0.75, 1]},
    }
