"""The layer x KV head picture, as Plotly JSON. Knows numbers only, no mask files, no jobs.

The colour of a cell is the mix that the gate stands for: blue at 1 (the head reads the whole
past), orange at 0 (sinks and recent tokens only), nothing in between, so that undecided heads
sink into the page in both themes. The figure is written as a plain dict: it is sent with every
move of a slider, and Plotly's own Python classes would take longer than everything else.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from gradio.components.plot import PlotData
from numpy.typing import NDArray

from rlkv.masks import ranks
from ui.theme import COMPRESSED, FULL

INK = "rgb(1, 2, 3)"
"""Stands for the theme's text colour: `static/style.css` replaces it."""
NEUTRAL = (138, 146, 161, 0.14)
"""The middle of the colour scale: red, green, blue, opacity."""
DIMMED = 0.38
"""Opacity of a compressed head's cell."""
SCALE = [[0.0, COMPRESSED], [0.5, f"rgba{NEUTRAL}"], [1.0, FULL]]
CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}

LEGEND = (
    '<div class="legend"><span>0 &nbsp;a few tokens do</span>'
    '<span class="bar" role="img" aria-label="colour scale from orange at 0 to blue at 1"></span>'
    "<span>1 &nbsp;needs the whole past</span></div>"
)
LEGEND_CUT = LEGEND.replace(
    "</div>",
    '<span class="cutkeys"><i class="key kept"></i>kept'
    '<i class="key cut"></i>compressed</span></div>',
)


def heatmap(
    scores: NDArray[Any],
    kept: NDArray[np.bool_] | None = None,
    *,
    selected: tuple[int, int] | None = None,
    height: int | None = None,
) -> PlotData:
    """Draws `scores` [layers, kv_heads]; with `kept`, outlines kept heads and dims the others."""
    table = np.clip(np.asarray(scores, dtype=np.float64), 0.0, 1.0)
    layers, heads = table.shape
    traces = _cells(table, kept)
    if kept is not None:
        traces.append(_outline(np.argwhere(kept), width=1.6 if table.size <= 64 else 1.0))
    if selected is not None:
        traces.append(_outline(np.array([selected]), width=4.0, half=0.5))
    if table.size <= 64:
        traces.append(_numbers(table, kept))
    rows = height or int(np.clip(62 * layers, 200, 430 if layers <= 24 else 12 * layers))
    return plotly(traces, _layout(layers, heads, rows))


def plotly(traces: list[dict[str, Any]], layout: dict[str, Any]) -> PlotData:
    """Wraps a figure for `gr.Plot`, without Plotly's tool bar."""
    figure = {"data": traces, "layout": layout, "config": CONFIG}
    return PlotData(type="plotly", plot=json.dumps(figure, allow_nan=False))


def gate_text(gate: float) -> str:
    """A gate as it fits into a cell: `.25`, `1`."""
    return f"{gate:.2f}".lstrip("0") if gate < 0.995 else "1"


def text_colour(gate: float, kept: bool) -> str:
    """What reads on a cell of a strong colour; "" where the theme's own text colour does."""
    if not kept or abs(gate - 0.5) <= 0.4:
        return ""
    return "#ffffff" if gate > 0.5 else "#1d1305"


def _cells(table: NDArray[Any], kept: NDArray[np.bool_] | None) -> list[dict[str, Any]]:
    by_cell = ranks(table) + 1
    if kept is None:
        return [_layer(table, np.ones(table.shape, dtype=bool), by_cell, "", 1.0)]
    return [
        _layer(table, kept, by_cell, "<br>kept", 1.0),
        _layer(table, ~kept, by_cell, "<br>compressed", DIMMED),
    ]


def _layer(
    table: NDArray[Any],
    shown: NDArray[np.bool_],
    by_cell: NDArray[Any],
    state: str,
    opacity: float,
) -> dict[str, Any]:
    """One heatmap trace of the cells in `shown`; the others are holes."""
    rounded = np.round(table, 4).tolist()
    z = [
        [v if s else None for v, s in zip(row, mask, strict=True)]
        for row, mask in zip(rounded, shown.tolist(), strict=True)
    ]
    gap = 3 if table.size <= 64 else 2 if table.shape[0] <= 40 else 1
    return {
        "type": "heatmap",
        "z": z,
        "customdata": by_cell.tolist(),
        "zmin": 0,
        "zmax": 1,
        "colorscale": SCALE,
        "showscale": False,
        "opacity": opacity,
        "xgap": gap,
        "ygap": gap,
        "hoverongaps": False,
        "hovertemplate": (
            "layer %{y}, KV head %{x}<br>gate %{z:.3f}<br>"
            f"rank %{{customdata}} of {table.size}{state}<extra></extra>"
        ),
    }


def _outline(cells: NDArray[Any], *, width: float, half: float = 0.47) -> dict[str, Any]:
    """One line trace round all `cells` [n, 2]: fast where a shape a cell would not be."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for layer, head in cells.tolist():
        xs += [head - half, head + half, head + half, head - half, head - half, None]
        ys += [layer - half, layer - half, layer + half, layer + half, layer - half, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": xs,
        "y": ys,
        "line": {"color": INK, "width": width},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _numbers(table: NDArray[Any], kept: NDArray[np.bool_] | None) -> dict[str, Any]:
    """The values inside the cells of a small table, each in a colour that reads on its cell."""
    layers, heads = table.shape
    colors = []
    for (layer, head), value in np.ndenumerate(table):
        solid = kept is None or bool(kept[layer, head])
        colors.append(text_colour(float(value), solid) or INK)
    return {
        "type": "scatter",
        "mode": "text",
        "x": np.tile(np.arange(heads), layers).tolist(),
        "y": np.repeat(np.arange(layers), heads).tolist(),
        "text": [gate_text(v) for v in table.ravel().tolist()],
        "textfont": {"size": 12, "color": colors},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _layout(layers: int, heads: int, height: int) -> dict[str, Any]:
    every = 1 if layers <= 24 else 4 if layers <= 48 else 8
    ticks = list(range(0, layers, every))
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True, "ticks": ""}
    return {
        "height": height + 44,
        "margin": {"l": 42, "r": 6, "t": 34, "b": 4},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "IBM Plex Sans, system-ui, sans-serif", "size": 12},
        "hoverlabel": {"font": {"family": "IBM Plex Sans, system-ui, sans-serif", "size": 13}},
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": {
            **axis,
            "side": "top",
            "range": [-0.56, heads - 0.44],
            "tickvals": list(range(heads)),
            "ticktext": [f"head {h}" if heads <= 4 else f"H{h}" for h in range(heads)],
        },
        "yaxis": {
            **axis,
            "range": [layers - 0.44, -0.56],
            "tickvals": ticks,
            "ticktext": [f"L{layer}" for layer in ticks],
        },
    }
