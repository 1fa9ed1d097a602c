"""The same picture as `heatmap`, in plain HTML: there while Plotly is still being parsed.

Plotly is 4.6 MB of script, which takes a slow machine seconds. This table is drawn with the
page, lies under the chart, and hides as soon as the chart is there. It is also what a screen
reader gets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ui.components.heatmap import DIMMED, NEUTRAL, gate_text, text_colour
from ui.theme import COMPRESSED, FULL


def instant_map(scores: NDArray[Any], kept: NDArray[np.bool_]) -> str:
    """HTML of `scores` [layers, kv_heads], kept heads outlined, the others dimmed."""
    heads = scores.shape[1]
    top = "".join(f"<th scope=col>H{head}</th>" for head in range(heads))
    rows = "".join(
        f"<tr><th scope=row>L{layer}</th>"
        + "".join(
            _cell(float(np.clip(scores[layer, h], 0, 1)), bool(kept[layer, h]))
            for h in range(heads)
        )
        + "</tr>"
        for layer in range(scores.shape[0])
    )
    return (
        '<table class="instant"><caption>Gate of every KV head, by layer</caption>'
        f"<thead><tr><td></td>{top}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _cell(gate: float, kept: bool) -> str:
    state = "kept" if kept else "cut"
    colour = text_colour(gate, kept) or "inherit"
    return (
        f'<td class="{state}" style="background:{_fill(gate, kept)};color:{colour}">'
        f"{gate_text(gate)}</td>"
    )


def _fill(gate: float, kept: bool) -> str:
    """The gate's place on the scale from orange over nothing to blue."""
    end = FULL if gate > 0.5 else COMPRESSED
    goal = (int(end[1:3], 16), int(end[3:5], 16), int(end[5:7], 16), 1.0)
    share = 2 * abs(gate - 0.5)
    red, green, blue, alpha = (a + (b - a) * share for a, b in zip(NEUTRAL, goal, strict=True))
    alpha *= 1.0 if kept else DIMMED
    return f"rgba({red:.0f},{green:.0f},{blue:.0f},{alpha:.2f})"
