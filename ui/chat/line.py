"""The line of all that runs a model: chats, scripts, measurements. Gradio's queue keeps it."""

from __future__ import annotations

import gradio as gr

from ui.waiting import model_line


def before(app: gr.Blocks, session: str) -> int | None:
    """How many stand before a tab in line, what runs now included; None where it is not in line."""
    line = model_line(app)
    if line is None:
        return None
    waiting = [event.session_hash for event in list(line.queue)]
    return waiting.index(session) + line.current_concurrency if session in waiting else None
