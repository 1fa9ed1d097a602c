"""The bar under a page whose address holds a mask: it is shown there, and kept only on request."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.mask_files.found import Found, look
from rlkv.mask_link import MAX_LINK, is_link
from rlkv.mask_picture import thumbnail
from ui.events import PRIVATE, QUIET
from ui.library.importing import revisions, store
from ui.mask_hint import in_use
from ui.messages import told
from ui.studio import Studio

_KEPT = "key => { if (key) { rlkvAddress('mask', key); location.reload(); } }"
_CLOSED = "() => { document.querySelector('#link-banner').style.display = 'none'; }"


def link_banner(studio: Studio, app: gr.Blocks) -> None:
    """Adds the bar and its events to the open Blocks; unseen unless the address holds a mask."""
    with gr.Row(visible=False, elem_id="link-banner") as bar:
        said = gr.HTML("", js_on_load=None, apply_default_css=False, elem_id="link-said")
        keep = gr.Button("Keep", size="sm", variant="primary", elem_id="link-keep", min_width=80)
        close = gr.Button("Close", size="sm", elem_id="link-close", min_width=80)
    text = gr.Textbox(visible="hidden", elem_id="link-text")
    key = gr.Textbox(visible="hidden", elem_id="link-key")

    def opened(request: gr.Request) -> list[Any]:
        link = str(request.query_params.get("mask") or "")
        if not link.startswith("rlkv1"):
            return [gr.skip()] * 4
        try:
            found = look(link) if is_link(link) else None
        except UserError:
            found = None
        known = gr.update(visible=found is not None)
        return [gr.update(visible=True), _said(studio, found), known, link[:MAX_LINK]]

    def kept(link: str) -> str:
        with told():
            if not is_link(str(link)):
                raise UserError("There is no mask in this address.")
            found = look(str(link))
            return store(studio, found.mask, "a link", found.form)

    app.load(opened, None, [bar, said, keep, text], **QUIET)
    keep.click(kept, text, key, **PRIVATE).success(
        None, key, None, js=_KEPT, api_visibility="private"
    )
    close.click(None, None, None, js=_CLOSED, api_visibility="private")


def _said(studio: Studio, found: Found | None) -> str:
    if found is None:
        return (
            "<p><b>The mask in this address can't be read.</b> It was cut off or changed: copy the "
            "whole link again.</p>"
        )
    mask = found.mask
    about = [
        f"{mask.layers} x {mask.kv_heads} heads, {mask.n_kept} kept",
        f"window {mask.sink} + {mask.recent}",
        mask.model or "model not named",
    ]
    warnings = (
        [w for w in found.warnings(revisions(studio), in_use(studio)) if mask.model in w]
        if mask.model
        else []
    )
    more = "".join(f" {escape(words)}" for words in warnings)
    return (
        f"<div class=linked>{thumbnail(mask, width=66, height=22)}<p>"
        "<b>A mask from a link, not kept here.</b> "
        f"{escape(' · '.join(about))}.{more}</p></div>"
    )
