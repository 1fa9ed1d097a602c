"""A recorded comparison, two answers side by side with the KV bytes each one holds; drawn by
`static/race.js`.

The values are plain data and the browser puts all text in as text, so whatever a model writes
stays inert. Knows nothing of models: pages hand over what was measured.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

_PLAY = """
const start = () => window.rlkvRace ? rlkvRace.play(element, props.value) : setTimeout(start, 30);
start();
"""
_TOP = """
<div class="race-top"><span class="q"></span><button type="button">Play again</button></div>
<div class="race"></div>
"""
_SHOW_QUESTION = "element.querySelector('.q').textContent = props.value.prompt;"


def recording_view(value: dict[str, Any], elem_id: str) -> gr.HTML:
    """A component that plays a recorded comparison in the browser: no server, no model."""
    script = _SHOW_QUESTION + _PLAY
    return gr.HTML(value, html_template=_TOP, js_on_load=script, elem_id=elem_id)


def final(text: str) -> str:
    """What follows the thinking part, or "" while it is still open."""
    return text.rpartition("</think>")[2].strip() if "</think>" in text else ""
