"""The line of all that runs a model: chats, scripts, measurements. Gradio's queue keeps it."""

from __future__ import annotations

import gradio as gr

from ui.events import MODEL_RUNS


def before(app: gr.Blocks, session: str) -> int | None:
    """How many stand before a tab in line, what runs now included; None where it is not in line."""
    line = app._queue.event_queue_per_concurrency_id.get(MODEL_RUNS["concurrency_id"])
    if line is None:
        return None
    waiting = [event.session_hash for event in list(line.queue)]
    return waiting.index(session) + line.current_concurrency if session in waiting else None
