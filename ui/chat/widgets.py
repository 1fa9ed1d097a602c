"""The page's own widgets: transcript, memory, kept conversations; drawn by `static/chat*.js`.

Their values are plain data, and the browser puts all text in as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ui.components.drawn import drawn, when_there

_MEMORY = "rlkvChat.mountMemory(element.querySelector('.mem'));"


def talk(value: dict[str, Any], server_functions: list[Callable[..., Any]]) -> gr.HTML:
    """The transcript. Events: edit, again, fork, branch, vote, recorded; each carries `chat`, the
    conversation that was open when it was made."""
    return drawn(
        "rlkvChat", "talk", "talk", value=value, more="{trigger, server}",
        events=("edit", "again", "fork", "branch", "vote", "recorded"),
        functions=server_functions,
    )  # fmt: skip


def memory() -> gr.HTML:
    """Curves of measured bytes, and how many such chats fit; fed by the transcript."""
    return gr.HTML(
        None,
        html_template='<div class="mem"></div>',
        js_on_load=when_there("rlkvChat", _MEMORY),
        elem_id="memory",
        apply_default_css=False,
    )


def chat_list(value: dict[str, Any]) -> gr.HTML:
    """The kept conversations. Events: open, rename, remove."""
    return drawn(
        "rlkvChatList", "chat-list", "chat-list", value=value, more="{trigger}",
        events=("open", "rename", "remove"),
    )  # fmt: skip
