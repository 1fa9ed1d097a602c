"""The three charts beside the head map: how the gates lie, by layer, and what a threshold saves."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlkv.masks import HeadMask
from ui.components.charts import Value, bars_value, line, lines_value, series
from ui.heads.views import ordered_by_gate

BINS = 20
POINTS = 101


def charts(mask: HeadMask, length: int) -> list[Value]:
    """Histogram of the gates, mean gate by layer, KV saved against the threshold."""
    return [_histogram(mask), _by_layer(mask), _saved(mask, length)]


def threshold(mask: HeadMask) -> float:
    """The lowest score that the cut keeps; 1 if it keeps none."""
    if mask.n_kept == 0:
        return 1.0
    return float(np.sort(mask.scores, axis=None)[-mask.n_kept])


def _histogram(mask: HeadMask) -> Value:
    gates = mask.gates
    edges = np.linspace(0.0, 1.0, BINS + 1)
    kept, _ = np.histogram(gates[mask.kept], edges)
    compressed, _ = np.histogram(gates[~mask.kept], edges)
    parts = [
        series("compressed", "comp", compressed.tolist()),
        series("kept", "full", kept.tolist()),
    ]
    marker = (threshold(mask), "cut") if ordered_by_gate(mask) else None
    return bars_value(
        "Gates", parts, edges=edges.tolist(), marker=marker, x="Gate", y="Heads", name="gates"
    )


def _by_layer(mask: HeadMask) -> Value:
    means = mask.gates.mean(axis=1).tolist()
    names = [f"L{layer}" for layer in range(mask.layers)]
    kept = mask.kept.sum(axis=1).tolist()
    hover = [f"Layer {i}: {n} of {mask.kv_heads} kept" for i, n in enumerate(kept)]
    return bars_value(
        "Mean gate by layer", means, names, x="Layer", y="Mean gate", range=(0.0, 1.0),
        hover=hover, name="mean-gate-by-layer",
    )  # fmt: skip


def _saved(mask: HeadMask, length: int) -> Value:
    own = ordered_by_gate(mask)
    scores = np.sort(mask.scores, axis=None)
    at = np.linspace(0.0, 1.0, POINTS)
    compressed = np.searchsorted(scores, at, side="left") / scores.size
    window = min(length, mask.sink + mask.recent) / length
    points: list[tuple[float, Any]] = list(
        zip(at.tolist(), (compressed * (1.0 - window)).tolist(), strict=True)
    )
    name = "Gate" if own else "Score"
    return lines_value(
        "KV saved by threshold",
        [line("KV saved", "ink", points, step=True)],
        marker=(threshold(mask), "cut"),
        x=f"{name} threshold for keeping a head",
        y=f"KV saved at {length:,} tokens",
        unit="%",
        range=(0.0, 1.0),
        x_range=(0.0, 1.0),
        name="kv-saved-by-threshold",
    )
