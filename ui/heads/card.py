"""The card under the head map: save the mask on screen, take it away as a file, load one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

import gradio as gr
import numpy as np

from rlkv.mask_metrics import true_info
from rlkv.masks import HeadMask
from ui.catalogue import MADE_FROM
from ui.components.header import section
from ui.downloads import take
from ui.events import PRIVATE, QUIET
from ui.heads.screen import Screen
from ui.library.exporting import written
from ui.library.importing import Pending, event_data, kept, looked_at, preview
from ui.library.layout import live_html
from ui.messages import notice, refusal, told
from ui.sharing.using import UsePanel, use_panel, wire_use
from ui.studio import Studio

MAX_NAME = 80
Opened = Callable[[str, Screen | None], list[Any]]
"""Draws everything for the mask of a key."""


@dataclass(frozen=True)
class MaskCard:
    """The card's components."""

    name: gr.Textbox
    save: gr.Button
    talk: gr.Button
    chat: gr.Textbox
    """Address of the chat with the mask on screen; never seen."""
    download: gr.Button
    file: gr.DownloadButton
    load: gr.UploadButton
    pending: gr.State
    """Files that were looked at and wait to be kept."""
    imports: gr.HTML
    use: UsePanel


def mask_card() -> MaskCard:
    """Adds the card to the open Blocks."""
    with gr.Column(elem_classes="card"):
        section(
            "Keep this mask",
            'As it is on screen, with your own edits. <a href="./masks">All masks</a> can be '
            "renamed, compared, averaged and shared as links.",
        )
        with gr.Row(equal_height=True):
            name = gr.Textbox(
                placeholder="Name of the mask", show_label=False, container=False,
                label="Name of the mask",
                max_length=MAX_NAME, scale=4, min_width=200, elem_id="name",
            )  # fmt: skip
            save = gr.Button("Save", variant="primary", scale=1, min_width=110, elem_id="save")
            talk = gr.Button("Try it in Chat", scale=1, min_width=130, elem_id="try")
            download = gr.Button("Download", scale=1, min_width=110, elem_id="download")
            load = gr.UploadButton("Load a file", scale=1, min_width=110, elem_id="load")
        imports = live_html("loaded")
        use = use_panel()
        file = gr.DownloadButton(visible="hidden", elem_id="download-file")
        chat = gr.Textbox(visible="hidden", elem_id="try-address")
    return MaskCard(name, save, talk, chat, download, file, load, gr.State(()), imports, use)


def wire_mask_card(
    studio: Studio,
    card: MaskCard,
    screen: gr.State,
    opened: Opened,
    everything: list[Any],
    address: tuple[gr.Dropdown, dict[str, Any]],
) -> None:
    """`opened` draws `everything`; `address` is the chooser and how its key gets into the bar."""

    def save(now: Screen | None, name: str) -> list[Any]:
        if now is None:
            raise refusal("There is no mask to save.")
        name = " ".join(str(name or "").split())[:MAX_NAME]
        if not name:
            raise refusal("Give the mask a name first.")
        parent = now.key if now.entry.is_stored else None
        info = {**true_info(now.mask), MADE_FROM: {"name": now.mask.name, "key": now.key}}
        mask = replace(now.mask, name=name, info=info)
        key = _store(studio, mask, parent, now.entry.job_id)
        notice(f"Saved as “{name}”.")
        return [*opened(key, now), ""]

    def keep(event: gr.EventData, pending: Pending, now: Screen | None) -> list[Any]:
        data = event_data(event)
        with told():
            rest, key = kept(studio, pending, data.get("n"), data.get("model"))
        notice(f"Kept “{studio.masks.get(key).name}”.")
        return [rest, preview(studio, rest), *opened(key, now)]

    chooser, script = address
    card.save.click(save, [screen, card.name], [*everything, card.name], **PRIVATE).success(
        None, chooser, None, **script
    )
    card.talk.click(_chat_address, screen, card.chat, **PRIVATE).success(
        None, card.chat, None, js="to => { location.href = to; }", api_visibility="private"
    )
    card.download.click(_write, screen, card.file, **PRIVATE).success(
        None, None, None, **take("download-file")
    )
    waiting = [card.pending, card.imports]
    card.load.upload(partial(_load, studio), card.load, waiting, **PRIVATE)
    card.imports.keep(keep, [card.pending, screen], [*waiting, *everything], **PRIVATE).success(
        None, chooser, None, **script
    )
    card.imports.discard(lambda: [(), ""], None, waiting, **QUIET)
    wire_use(studio, card.use, screen, lambda now: now.mask)


def _chat_address(now: Screen | None) -> str:
    """A mask that was changed here travels in the address, so nothing needs to be kept first."""
    if now is None:
        raise refusal("There is no mask to chat with.")
    is_changed = not np.array_equal(now.mask.kept, now.entry.mask.kept)
    return f"./chat?mask={quote(now.mask.to_link() if is_changed else now.key)}"


def _write(now: Screen | None) -> str:
    if now is None:
        raise refusal("There is no mask to download.")
    return str(written(now.mask, "zip"))


def _load(studio: Studio, path: str) -> list[Any]:
    pending = looked_at([path], ())
    if pending[0].found is None:
        raise refusal(pending[0].reason)
    return [pending, preview(studio, pending)]


def _store(studio: Studio, mask: HeadMask, parent: str | None, job_id: str | None) -> str:
    with told():
        return studio.keep_mask(mask, parent_id=parent, job_id=job_id)
