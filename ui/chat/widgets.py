"""The page's own widgets: transcript, memory, kept conversations; drawn by `static/chat*.js`.

Their values are plain data, and the browser puts all text in as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

_WAIT = """
const start = () => {
  if (!window.%(name)s) return setTimeout(start, 30);
  %(then)s
};
start();
"""
_TALK = """
const events = ['edit', 'again', 'fork', 'branch', 'vote', 'recorded'];
const paint = rlkvChat.mount(element.querySelector('.talk'), {trigger, server});
paint(props.value);
watch('value', () => paint(props.value));
"""
_LIST = """
const events = ['open', 'rename', 'remove'];
const paint = rlkvChatList.mount(element.querySelector('.chat-list'), {trigger});
paint(props.value);
watch('value', () => paint(props.value));
"""
_MEMORY = "rlkvChat.mountMemory(element.querySelector('.mem'));"


def talk(value: dict[str, Any], server_functions: list[Callable[..., Any]]) -> gr.HTML:
    """The transcript. Events: edit, again, fork, branch, vote, recorded; each carries `chat`, the
    conversation that was open when it was made."""
    return gr.HTML(
        value,
        html_template='<div class="talk"></div>',
        js_on_load=_WAIT % {"name": "rlkvChat", "then": _TALK},
        elem_id="talk",
        apply_default_css=False,
        server_functions=server_functions,
    )


def memory() -> gr.HTML:
    """Curves of measured bytes, and how many such chats fit; fed by the transcript."""
    return gr.HTML(
        None,
        html_template='<div class="mem"></div>',
        js_on_load=_WAIT % {"name": "rlkvChat", "then": _MEMORY},
        elem_id="memory",
        apply_default_css=False,
    )


def chat_list(value: dict[str, Any]) -> gr.HTML:
    """The kept conversations. Events: open, rename, remove."""
    return gr.HTML(
        value,
        html_template='<div class="chat-list"></div>',
        js_on_load=_WAIT % {"name": "rlkvChatList", "then": _LIST},
        elem_id="chat-list",
        apply_default_css=False,
    )
