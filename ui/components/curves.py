"""Training curves as Plotly JSON. Knows names of series, no jobs."""

from __future__ import annotations

import json
import math
from typing import Any

from gradio.components.plot import PlotData

from ui.theme import COMPRESSED, FULL, REWARD

Points = list[tuple[int, float]]
CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
LINES = (
    ("reward", "Reward as trained", REWARD),
    ("gate_mean", "Mean gate", FULL),
    ("sparsity", "Sparsity", COMPRESSED),
)
DEPLOYED = ("reward_hard", "Reward as deployed", REWARD)
"""Under the binary mask of that step; measured every few steps only, so its points are marked."""

SERIES = [name for name, _, _ in (*LINES, DEPLOYED)]


def _key(style: str, color: str, title: str) -> str:
    return f'<span><i class="{style}" style="--c:{color}"></i>{title}</span>'


LEGEND = '<div class="legend">{}</div>'.format(
    "".join(
        [
            _key("dash", REWARD, LINES[0][1]),
            _key("dash dot", REWARD, DEPLOYED[1]),
            *(_key("dash", color, title) for _, title, color in LINES[1:]),
        ]
    )
)


def training_curves(series: dict[str, Points], total: int) -> PlotData:
    """Reward (raw, faint, behind its running mean), mean gate and sparsity over the steps.

    The reward as deployed is drawn with markers wherever there are any points of it.
    """
    traces = []
    for name, title, color in LINES:
        points = _finite(series, name)
        if name == "reward":
            traces.append(_line(points, title, color, faint=True))
            points = running_mean(points)
        traces.append(_line(points, title, color))
    if deployed := _finite(series, DEPLOYED[0]):
        traces.append(_marked(deployed, *DEPLOYED[1:]))
    return _plotly(traces, _layout(max(total, 1)))


def running_mean(points: Points, weight: float = 0.85) -> Points:
    """Exponential running mean, corrected for its start."""
    smooth: Points = []
    total, mass = 0.0, 0.0
    for step, value in points:
        total = weight * total + value
        mass = weight * mass + 1.0
        smooth.append((step, total / mass))
    return smooth


def _plotly(traces: list[dict[str, Any]], layout: dict[str, Any]) -> PlotData:
    """A figure for `gr.Plot` without Plotly's tool bar.

    Written as a plain dict: Plotly's own Python classes would take longer than everything else.
    """
    figure = {"data": traces, "layout": layout, "config": CONFIG}
    return PlotData(type="plotly", plot=json.dumps(figure, allow_nan=False))


def _finite(series: dict[str, Points], name: str) -> Points:
    return [(x, y) for x, y in series.get(name, []) if math.isfinite(y)]


def _marked(points: Points, title: str, color: str) -> dict[str, Any]:
    return {
        **_line(points, title, color),
        "mode": "lines+markers",
        "line": {"color": color, "width": 1.5, "dash": "dot"},
        "marker": {"color": color, "size": 7, "symbol": "circle"},
    }


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
