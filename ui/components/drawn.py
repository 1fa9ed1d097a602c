"""Widgets that a script of `static/` draws from a plain value: waiting for it, and drawing anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

_WAIT = """
const start = () => {
  if (!window.%(name)s) return setTimeout(start, 30);
  %(then)s
};
start();
"""
_PAINT = """
%(events)s
const paint = %(name)s.mount(element.querySelector('.%(root)s')%(more)s);
paint(props.value);
watch('value', () => paint(props.value));
"""


def when_there(name: str, then: str) -> str:
    """JavaScript for `js_on_load` that runs `then` once the script that defines `name` is there."""
    return _WAIT % {"name": name, "then": then}


def drawn(
    name: str, root: str, elem_id: str, *, value: Any = None, more: str = "", classes: str = "",
    events: Sequence[str] = (), functions: Sequence[Any] = (),
) -> gr.HTML:  # fmt: skip
    """A component that `name.mount` of a script draws, now and at every new value.

    Args:
        root: class of the element that is drawn into.
        more: JavaScript of a further argument of `mount`.
        events: that the script triggers. Gradio knows those whose names stand in `js_on_load`.
        functions: of the server that the script may call.
    """
    paint = _PAINT % {
        "name": name,
        "root": root,
        "more": f", {more}" if more else "",
        "events": f"const events = {json.dumps(list(events))};" if events else "",
    }
    return gr.HTML(
        value,
        html_template=f'<div class="{root}"></div>',
        js_on_load=when_there(name, paint),
        elem_id=elem_id,
        elem_classes=classes or None,
        apply_default_css=False,
        server_functions=list(functions) or None,
    )
