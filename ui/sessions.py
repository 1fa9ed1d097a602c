"""What Gradio remembers of tabs: about 1.4 MB each, closed ones too. Here most go.

A tab whose connection broke off counts as closed and may come back, after a laptop has slept for
instance, so the latest ones are kept.
"""

from __future__ import annotations

import gradio as gr

CLOSED_KEPT = 40
"""Tabs."""
MOST = 500
"""Tabs in all, for `launch(state_session_capacity=...)`: whoever makes up sessions must not fill
the memory. The one that was used longest ago makes room."""


def forget_closed(app: gr.Blocks, most: int = CLOSED_KEPT) -> None:
    """Drops the states of closed tabs, but for those that were used last."""
    holder = app.state_holder
    with holder.lock:
        used = dict(holder.time_last_used)
    closed = [key for key, one in list(holder.session_data.items()) if one.is_closed]
    closed.sort(key=lambda key: used[key].timestamp() if key in used else 0.0)
    for key in closed[: max(len(closed) - most, 0)]:
        holder.delete_state(key)
        with holder.lock:
            holder.session_data.pop(key, None)
            holder.time_last_used.pop(key, None)
