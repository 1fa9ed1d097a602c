"""The card under the head map: save the mask on screen, take it away as a file, load one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from rlkv.masks import HeadMask
from ui import catalogue
from ui.catalogue import MADE_FROM
from ui.components.header import section
from ui.downloads import new_folder, take
from ui.events import PRIVATE
from ui.heads.screen import Screen
from ui.messages import notice, refusal, told
from ui.studio import Studio

MAX_NAME = 80
Opened = Callable[[str, Screen | None], list[Any]]
"""Draws everything for the mask of a key."""


@dataclass(frozen=True)
class MaskCard:
    """The card's components."""

    name: gr.Textbox
    save: gr.Button
    download: gr.Button
    file: gr.DownloadButton
    load: gr.UploadButton


def mask_card() -> MaskCard:
    """Adds the card to the open Blocks."""
    with gr.Column(elem_classes="card"):
        section("Keep this mask", "As it is on screen, with your own edits.")
        with gr.Row(equal_height=True):
            name = gr.Textbox(
                placeholder="Name of the mask", show_label=False, container=False,
                max_length=MAX_NAME, scale=4, min_width=200, elem_id="name",
            )  # fmt: skip
            save = gr.Button("Save", variant="primary", scale=1, min_width=110, elem_id="save")
            download = gr.Button("Download", scale=1, min_width=110, elem_id="download")
            load = gr.UploadButton(
                "Load a file", file_types=[".zip", ".tsv"], scale=1, min_width=110, elem_id="load"
            )
        file = gr.DownloadButton(visible="hidden", elem_id="download-file")
    return MaskCard(name, save, download, file, load)


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
        parent = None if catalogue.is_shipped(now.key) else now.key
        info = {**now.mask.info, MADE_FROM: {"name": now.mask.name, "key": now.key}}
        mask = replace(now.mask, name=name, info=info)
        key = _store(studio, mask, parent, now.entry.job_id)
        notice(f"Saved as “{name}”.")
        return [*opened(key, now), ""]

    def write(now: Screen | None) -> str:
        if now is None:
            raise refusal("There is no mask to download.")
        return str(now.mask.save_zip(new_folder("mask") / f"{_file_name(now.mask)}.zip"))

    def load(path: str, now: Screen | None) -> list[Any]:
        with told():
            mask = HeadMask.load(Path(path))
        name = mask.name or Path(path).stem[:MAX_NAME]
        key = _store(studio, replace(mask, name=name), None, None)
        notice(f"Loaded “{name}”.")
        return opened(key, now)

    chooser, script = address
    card.save.click(save, [screen, card.name], [*everything, card.name], **PRIVATE).success(
        None, chooser, None, **script
    )
    card.download.click(write, screen, card.file, **PRIVATE).success(
        None, None, None, **take("download-file")
    )
    card.load.upload(load, [card.load, screen], everything, **PRIVATE).success(
        None, chooser, None, **script
    )


def _store(studio: Studio, mask: HeadMask, parent: str | None, job_id: str | None) -> str:
    with told():
        return studio.masks.save(mask.to_record(), parent_id=parent, job_id=job_id).id


def _file_name(mask: HeadMask) -> str:
    """A mask's name as a file name that every system takes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in mask.name)
    return kept.strip("-.")[:60] or "mask"
