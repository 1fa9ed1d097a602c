"""The line under a form whose task runs programs that the model writes: how well they are held."""

from __future__ import annotations

from html import escape

import gradio as gr

from rlkv.errors import UserError
from rlkv.tasks import sandbox
from ui.components.header import html
from ui.events import FOLLOWS

RUNS_CODE = "mbpp"


def sandbox_line(task: str) -> str:
    """HTML of the line, "" for a task that runs nothing."""
    if task != RUNS_CODE:
        return ""
    level = sandbox.level()
    held = f"level {level} of {len(sandbox.LEVELS) - 1}, {sandbox.LEVELS[level]}"
    try:
        sandbox.require_allowed()
    except UserError as error:
        return f'<p class="warn">{escape(f"{error} The sandbox here: {held}.")}</p>'
    words = f"Programs that the model writes run in the sandbox at {held}."
    if level > 0:
        return f'<p class="note">{escape(words)}</p>'
    return f'<p class="warn">{escape(words)} They can see your files.</p>'


def watch_sandbox(task: gr.components.Component, prefix: str) -> None:
    """Adds the line, `{prefix}-sandbox`, that follows a form's field."""
    line = html(elem_id=f"{prefix}-sandbox")
    # `change` is an event of text fields and dropdowns, not of every component.
    gr.on([task.change], sandbox_line, task, line, **FOLLOWS)  # type: ignore[attr-defined]
