"""Under the head map: how the mask on screen is used elsewhere, and pushed to the Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.masks import HeadMask
from rlkv.snippets import cli_snippet, python_snippet
from ui.components.header import html
from ui.events import PRIVATE
from ui.messages import refusal, told
from ui.sharing.account import login_button, require_token
from ui.studio import Studio

MaskOf = Callable[[Any], HeadMask | None]
"""The mask that a page has on screen, from the value of its state."""
ON_THE_HUB: dict[str, Any] = {"concurrency_limit": 4, **PRIVATE}
LONGEST_REPO = 200


@dataclass(frozen=True)
class UsePanel:
    """Its components."""

    show: gr.Button
    python: gr.Code
    command: gr.Code
    repo: gr.Textbox
    private: gr.Checkbox
    push: gr.Button
    pushed: gr.HTML


def use_panel() -> UsePanel:
    """Adds the panel to the open layout, closed."""
    with gr.Accordion("Use elsewhere", open=False, elem_id="elsewhere"):
        show = gr.Button("Show the program", size="sm", elem_id="snippet")
        python = gr.Code(
            language="python", label="Python", interactive=False, visible=False, elem_id="in-python"
        )
        command = gr.Code(
            language="shell", label="Command line", interactive=False, visible=False,
            lines=1, elem_id="in-shell",
        )  # fmt: skip
        html(
            '<p class="note">Push the mask to the Hugging Face Hub: its files and a card, in one '
            "commit. A repository that is there already gets a new one.</p>"
        )
        private = gr.Checkbox(
            True, label="Private: only you see it", container=False, elem_id="private"
        )
        with gr.Row(equal_height=True):
            repo = gr.Textbox(
                placeholder="owner/name", show_label=False, container=False, scale=4,
                label="Repository on the Hub",
                min_width=260, max_length=LONGEST_REPO, elem_id="repo",
            )  # fmt: skip
            push = gr.Button("Push to the Hub", scale=1, min_width=140, elem_id="push")
            login_button()
        pushed = html(elem_id="pushed")
    return UsePanel(show, python, command, repo, private, push, pushed)


def wire_use(studio: Studio, panel: UsePanel, state: gr.State, mask_of: MaskOf) -> None:
    """`state` is the page's; `mask_of` finds the mask in it."""

    def on_screen(now: Any) -> HeadMask:
        mask = mask_of(now) if now is not None else None
        if mask is None:
            raise refusal("There is no mask on screen.")
        return mask

    def show(now: Any) -> list[Any]:
        mask = on_screen(now)
        return [
            gr.update(value=python_snippet(mask), visible=True),
            gr.update(value=cli_snippet(mask), visible=True),
        ]

    def push(now: Any, repo: str, private: bool, signed_in: gr.OAuthToken | None) -> str:
        mask = on_screen(now)
        with told():
            token = require_token(studio, signed_in)
            address = mask.push_to_hub(
                str(repo or "")[:LONGEST_REPO], token=token, private=bool(private)
            )
        return _pushed(address)

    panel.show.click(show, state, [panel.python, panel.command], **PRIVATE)
    given = [state, panel.repo, panel.private]
    panel.push.click(push, given, panel.pushed, **ON_THE_HUB)


def _pushed(address: str) -> str:
    """A link, where the address is one that a browser may be sent to."""
    if not address.startswith(("https://", "http://127.0.0.1:")):
        return f'<p class="note">Pushed: {escape(address)}</p>'
    link = escape(address, quote=True)
    return f'<p class="note">Pushed: <a href="{link}" rel="noopener">{link}</a></p>'
