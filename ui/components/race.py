"""Two answers side by side with the KV bytes each one holds; drawn by `static/race.js`.

The values are plain data and the browser puts all text in as text, so whatever a model writes
stays inert. Knows nothing of models: pages hand over what was measured.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

Curve = list[tuple[int, int]]
"""(tokens, bytes held), measured after each token."""

_LIVE = """
const start = () => {
  if (!window.rlkvRace) return setTimeout(start, 30);
  const paint = rlkvRace.mount(element.querySelector('.race'));
  paint(props.value);
  watch('value', () => props.value && paint(props.value));
};
start();
"""
_PLAY = """
const start = () => window.rlkvRace ? rlkvRace.play(element, props.value) : setTimeout(start, 30);
start();
"""
_TOP = """
<div class="race-top"><span class="q"></span><button type="button">Play again</button></div>
<div class="race"></div>
"""
_SHOW_QUESTION = "element.querySelector('.q').textContent = props.value.prompt;"


def race_view(value: dict[str, Any], elem_id: str) -> gr.HTML:
    """A component that shows the frame which is its value; see `frame`."""
    template = '<div class="race"></div>'
    return gr.HTML(value, html_template=template, js_on_load=_LIVE, elem_id=elem_id)


def recording_view(value: dict[str, Any], elem_id: str) -> gr.HTML:
    """A component that plays a recorded comparison in the browser: no server, no model."""
    script = _SHOW_QUESTION + _PLAY
    return gr.HTML(value, html_template=_TOP, js_on_load=script, elem_id=elem_id)


def side(role: str, *, hint: str = "", **measured: Any) -> dict[str, Any]:
    """One side of a frame: `role` is "full" or "compressed"."""
    name = "Full" if role == "full" else "Compressed"
    base = {"text": "", "n": 0, "seconds": 0.0, "bytes": 0, "stop": None, "right": None}
    return {**base, "role": role, "short": name, "label": name, "hint": hint, **measured}


def frame(
    sides: list[dict[str, Any]],
    curves: list[Curve],
    *,
    agree: str = "",
) -> dict[str, Any]:
    """What is on screen at one moment; `curves` are [(tokens, bytes), ...], one a side."""
    return {"sides": sides, "curves": [list(thin(curve)) for curve in curves], "agree": agree}


def thin(curve: Curve, limit: int = 240) -> Curve:
    """At most `limit` points of a curve, its last one included."""
    if len(curve) <= limit:
        return curve
    stride = -(-len(curve) // limit)
    return [*curve[:-1:stride], curve[-1]]


def final(text: str) -> str:
    """What follows the thinking part, or "" while it is still open."""
    return text.rpartition("</think>")[2].strip() if "</think>" in text else ""
