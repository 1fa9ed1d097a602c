"""The layer x KV head picture as plain data; drawn by `static/headmap.js` as SVG.

Knows numbers and words only: no mask files, no jobs. The colour of a gate is the mix it stands
for: blue at 1 (the head reads the whole past), orange at 0 (sinks and recent tokens only),
nothing in between, so that undecided heads sink into the page in both themes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, TypeGuard

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from rlkv.cuts import ranks
from rlkv.gate_history import GateHistory
from rlkv.mask_files.limits import MAX_HEADS

Scale = Literal["gate", "rank", "kept", "diverging", "share"]
Cell = tuple[int, int]
"""(layer, KV head)."""

MOST_FRAMES = 150
"""Steps of a training that are sent to the browser; a longer one is thinned."""
LEVELS = 65535


class Legend(TypedDict, total=False):
    """Words of the scale's two ends, and a line under it."""

    low: str
    high: str
    note: str


GATE_LEGEND: Legend = {"low": "0  a few tokens suffice", "high": "1  needs the whole past"}

_LIVE = """
const start = () => {
  if (!window.rlkvHeadMapInput || !window.rlkvHeadMapTime) return setTimeout(start, 30);
  const send = {
    'pick': data => trigger('pick', data), 'paint': data => trigger('paint', data),
    'base': data => trigger('base', data), 'undo': data => trigger('undo', data),
    'redo': data => trigger('redo', data),
  };
  const root = element.querySelector('.headmap');
  const show = rlkvHeadMap.mount(root, (name, data) => {
    send[name](data);
    if (!props.in_address || !data) return;
    if (name === 'pick') rlkvAddress('head', data.layer + '.' + data.head);
    if (name === 'base') rlkvAddress('base', data.step);
  });
  show(props.value);
  watch('value', () => show(props.value));
};
start();
"""


def head_map(value: dict[str, Any] | None, elem_id: str, *, in_address: bool = False) -> gr.HTML:
    """The component. Its events are `pick`, `paint`, `base`, `undo` and `redo`.

    With `in_address` the pinned head and the base step are written into the page's address.
    """
    template = '<div class="headmap"></div>'
    return gr.HTML(
        value,
        html_template=template,
        js_on_load=_LIVE,
        apply_default_css=False,
        elem_id=elem_id,
        in_address=in_address,
    )


def head_map_value(
    values: NDArray[Any],
    *,
    kept: NDArray[np.bool_] | None = None,
    view: str = "gate",
    scale: Scale = "gate",
    texts: Sequence[Sequence[str]] | None = None,
    hover: Sequence[Sequence[str]] | None = None,
    selected: Cell | None = None,
    legend: Legend | None = None,
    frames: dict[str, Any] | Literal["same"] | None = None,
    name: str = "Gate of every KV head",
    column: str = "gate",
    **more: Any,
) -> dict[str, Any]:
    """What the browser draws of `values` [layers, kv_heads].

    `kept` [layers, kv_heads] outlines kept heads and dims the others. `texts` stand in large
    cells, `hover` (parts divided by " · ") in the window at the pointer; both default to gate
    and rank. `frames` comes from `training_frames`; "same" keeps what the browser has. `column`
    heads the values in an exported table. `more` goes along as it is: `editable`, `undoable`,
    `base` (step that a change counts from), `ack` (number of the last stroke taken), `key` (of the
    mask), `file` (name of exports).

    Raises:
        ValueError: if the tables do not fit each other or hold what is no number.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all() or not 0 < table.size <= MAX_HEADS:
        raise ValueError(f"A head map needs a table of finite numbers, not {table.shape}.")
    layers, heads = table.shape
    for other in (kept, texts, hover):
        if other is not None and (len(other), len(other[0])) != (layers, heads):
            raise ValueError(f"A head map of {table.shape} got another table of another shape.")
    return {
        "layers": layers,
        "heads": heads,
        "view": view,
        "scale": scale,
        "values": np.round(table, 4).tolist(),
        "texts": gate_texts(table) if texts is None else texts,
        "hover": gate_hover(table) if hover is None else hover,
        "kept": None if kept is None else kept.tolist(),
        "selected": None if selected is None else [int(i) for i in selected],
        "legend": GATE_LEGEND if legend is None else legend,
        "frames": frames,
        "name": name,
        "column": column,
        **more,
    }


def training_frames(history: GateHistory, key: str) -> dict[str, Any]:
    """The gates over a training for the time slider; `key` says which training it is."""
    thin = history.thinned(MOST_FRAMES)
    levels = np.round(np.clip(thin.gates, 0.0, 1.0) * LEVELS).astype("<u2")
    return {
        "key": key,
        "steps": [int(step) for step in thin.steps],
        "gates": base64.b64encode(levels.tobytes()).decode("ascii"),
        "rewards": [round(r, 4) if math.isfinite(r) else None for r in thin.rewards.tolist()],
    }


def gate_text(gate: float) -> str:
    """A gate as it fits into a cell: `.25`, `1`."""
    return f"{gate:.2f}".lstrip("0") if gate < 0.995 else "1"


def gate_texts(table: NDArray[Any]) -> list[list[str]]:
    """The short texts of a table of gates [layers, kv_heads]."""
    return [[gate_text(gate) for gate in row] for row in table.tolist()]


def gate_hover(table: NDArray[Any]) -> list[list[str]]:
    """Gate and rank of every head, in words."""
    places = (ranks(table) + 1).tolist()
    return [
        [f"gate {g:.3f} · rank {r} of {table.size}" for g, r in zip(*rows, strict=True)]
        for rows in zip(table.tolist(), places, strict=True)
    ]


def picked(data: object, shape: tuple[int, int]) -> Cell | None:
    """The (layer, head) that `{layer, head}` names, or None if there is no such head.

    Any client can send any event data, so nothing of it is taken on trust.
    """
    if not isinstance(data, dict):
        return None
    return _cell(data.get("layer"), data.get("head"), shape)


def painted(data: object, shape: tuple[int, int]) -> tuple[list[Cell], bool, int] | None:
    """(cells, keep, number) of a stroke `{cells, keep, n}`, or None unless all of it is right."""
    if not isinstance(data, dict):
        return None
    cells, keep, number = data.get("cells"), data.get("keep"), data.get("n", 0)
    if not isinstance(cells, list) or not 0 < len(cells) <= shape[0] * shape[1]:
        return None
    if not isinstance(keep, bool) or not is_index(number, 2**31):
        return None
    found = [_cell(*pair, shape) if is_pair(pair) else None for pair in cells]
    known = [cell for cell in found if cell is not None]
    return (known, keep, number) if len(known) == len(found) else None


def _cell(layer: object, head: object, shape: tuple[int, int]) -> Cell | None:
    if not (is_index(layer, shape[0]) and is_index(head, shape[1])):
        return None
    return layer, head


def is_pair(value: object) -> TypeGuard[tuple[object, object]]:
    """Whether `value` is a list of two, as JSON writes a pair."""
    return isinstance(value, list) and len(value) == 2


def is_index(value: object, size: int) -> TypeGuard[int]:
    """Whether `value` is a whole number from 0 to `size` - 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size
