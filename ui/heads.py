"""The heads page: look at a mask, cut it anywhere, click a head, edit, save, take away, load."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from rlkv.masks import HeadMask
from ui import catalogue
from ui.components.clicks import picked, plot_clicks
from ui.components.head_panel import Curve, head_panel
from ui.components.header import header, html, section, title
from ui.components.heatmap import LEGEND_CUT, heatmap
from ui.events import PRIVATE, QUIET
from ui.mask_figures import mask_figures, size_of
from ui.messages import notice, refusal, told
from ui.studio import Studio

LENGTHS = [128, 512, 2048, 8192, 32768, 131072]
NO_MASK = (
    '<div class="blank">There is no mask yet. <a href="./train">Train one</a>, '
    "or load a .zip or .tsv below.</div>"
)
MAX_NAME = 80
ADDRESS: dict[str, Any] = {
    "js": "key => rlkvAddress('mask', key)",
    "api_visibility": "private",
}
"""Puts the chosen mask into the address bar."""


@dataclass(frozen=True)
class View:
    """What one visitor has on screen."""

    key: str
    mask: HeadMask
    job_id: str | None
    cell: tuple[int, int]
    """(layer, KV head) of the open panel."""
    length: int

    def picture(self) -> Any:
        return heatmap(self.mask.scores, self.mask.kept, selected=self.cell)


@dataclass(frozen=True)
class Parts:
    """The page's components that events write to."""

    view: gr.State
    chooser: gr.Dropdown
    cut: gr.Slider
    length: gr.Radio
    figures: gr.HTML
    plot: gr.Plot
    panel: gr.HTML
    toggle: gr.Button
    name: gr.Textbox
    save: gr.Button
    download: gr.Button
    file: gr.DownloadButton
    load: gr.UploadButton

    def drawn(self) -> list[Any]:
        """What changes with the cut or an edit."""
        return [self.view, self.figures, self.plot, self.panel, self.toggle]


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    header("Heads")
    title(
        "Heads",
        'Every cell is one KV head of one layer. <b class="full">Blue</b> heads turned out to need '
        'the whole past, <b class="comp">orange</b> ones do with a few tokens. Move the cut and '
        "click around.",
    )
    parts, clicks = _lay_out()
    _wire(studio, app, parts, clicks)


def _lay_out() -> tuple[Parts, gr.HTML]:
    view = gr.State(None)
    with gr.Column(elem_classes="card"), gr.Row(equal_height=False):
        chooser = gr.Dropdown(
            [], label="Mask", interactive=True, elem_id="mask", scale=2, min_width=230
        )
        cut = gr.Slider(
            0, 1, 0.5, step=0.01, label="Sparsity: share of KV heads compressed",
            elem_id="sparsity", scale=3, min_width=250,
        )  # fmt: skip
        length = gr.Radio(
            [(_short(n), n) for n in LENGTHS], value=512, label="Length in tokens",
            elem_id="length", scale=3, min_width=280, elem_classes="chips",
        )  # fmt: skip
    figures = html(elem_id="figures")
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=320, elem_classes="card flush clickable"):
            plot = gr.Plot(show_label=False, container=False, elem_id="map")
            html(LEGEND_CUT)
        with gr.Column(scale=4, min_width=300, elem_classes="card sticky"):
            panel = html(elem_id="panel")
            toggle = gr.Button("Compress this head", visible=False, elem_id="toggle")
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
    clicks = plot_clicks("map")
    parts = Parts(
        view, chooser, cut, length, figures, plot, panel, toggle, name, save, download, file, load
    )
    return parts, clicks


def _wire(studio: Studio, app: gr.Blocks, p: Parts, clicks: gr.HTML) -> None:
    everything = [p.chooser, p.cut, *p.drawn()]

    def opened(request: gr.Request) -> list[Any]:
        return _open(studio, request.query_params.get("mask"))

    def chosen(key: str, view: View | None) -> list[Any]:
        return _open(studio, key, view)

    app.load(opened, None, everything, **QUIET)
    p.chooser.input(chosen, [p.chooser, p.view], everything, **QUIET).then(
        None, p.chooser, None, **ADDRESS
    )
    _wire_cut(studio, p)
    _wire_head(studio, p, clicks)
    _wire_files(studio, p, everything)


def _wire_cut(studio: Studio, p: Parts) -> None:
    def cut_at(view: View | None, sparsity: float) -> list[Any]:
        if view is None:
            return [gr.skip()] * 5
        with told():
            return _drawn(studio, replace(view, mask=view.mask.at_sparsity(float(sparsity))))

    def at_length(view: View | None, length: int) -> tuple[Any, Any]:
        if view is None or length not in LENGTHS:
            return gr.skip(), gr.skip()
        view = replace(view, length=int(length))
        return view, mask_figures(view.mask, view.length)

    p.cut.input(cut_at, [p.view, p.cut], p.drawn(), trigger_mode="always_last", **QUIET)
    p.length.input(at_length, [p.view, p.length], [p.view, p.figures], **QUIET)


def _wire_head(studio: Studio, p: Parts, clicks: gr.HTML) -> None:
    def pick(view: View | None, event: gr.EventData) -> list[Any]:
        cell = picked(event, view.mask.shape) if view is not None else None
        if view is None or cell is None:
            return [gr.skip()] * 4
        drawn = _drawn(studio, replace(view, cell=cell))
        return [drawn[0], *drawn[2:]]

    def flip(view: View | None) -> list[Any]:
        if view is None:
            return [gr.skip()] * 6
        view = replace(view, mask=view.mask.toggle(*view.cell))
        return [round(view.mask.sparsity, 2), *_drawn(studio, view)]

    clicks.pick(pick, p.view, [p.view, p.plot, p.panel, p.toggle], **QUIET)
    p.toggle.click(flip, p.view, [p.cut, *p.drawn()], **QUIET)


def _wire_files(studio: Studio, p: Parts, everything: list[Any]) -> None:
    def save(view: View | None, name: str) -> list[Any]:
        if view is None:
            raise refusal("There is no mask to save.")
        name = " ".join(str(name or "").split())[:MAX_NAME]
        if not name:
            raise refusal("Give the mask a name first.")
        parent = None if view.key == catalogue.SHIPPED else view.key
        key = _store(studio, replace(view.mask, name=name), parent, view.job_id)
        notice(f"Saved as “{name}”.")
        return [*_open(studio, key, view), ""]

    def write(view: View | None) -> str:
        if view is None:
            raise refusal("There is no mask to download.")
        folder = Path(tempfile.mkdtemp(prefix="mask-", dir=os.environ.get("GRADIO_TEMP_DIR")))
        return str(view.mask.save_zip(folder / f"{_file_name(view.mask)}.zip"))

    def load(path: str, view: View | None) -> list[Any]:
        with told():
            mask = HeadMask.load(Path(path))
        name = mask.name or Path(path).stem[:MAX_NAME]
        key = _store(studio, replace(mask, name=name), None, None)
        notice(f"Loaded “{name}”.")
        return _open(studio, key, view)

    p.save.click(save, [p.view, p.name], [*everything, p.name], **PRIVATE).success(
        None, p.chooser, None, **ADDRESS
    )
    p.download.click(write, p.view, p.file, **PRIVATE).success(
        None, None, None, api_visibility="private",
        js="() => setTimeout(() => document.querySelector('#download-file').click(), 60)",
    )  # fmt: skip
    p.load.upload(load, [p.load, p.view], everything, **PRIVATE).success(
        None, p.chooser, None, **ADDRESS
    )


# --- what is on screen --------------------------------------------------------------------


def _open(studio: Studio, key: str | None, before: View | None = None) -> list[Any]:
    """Everything for the mask called `key`: chooser, slider, and the drawn parts."""
    entry = catalogue.find(studio, key)
    options = catalogue.choices(studio)
    if entry is None:
        return [
            gr.update(choices=[], value=None),
            gr.skip(),
            None,
            NO_MASK,
            None,
            "",
            gr.update(visible=False),
        ]
    # The head needed most is open at first: a panel to read teaches more than an empty one.
    layer, head = np.argwhere(entry.mask.ranks() == 0)[0]
    view = View(
        entry.key,
        entry.mask,
        entry.job_id,
        cell=(int(layer), int(head)),
        length=before.length if before else 512,
    )
    return [
        gr.update(choices=options, value=entry.key),
        round(entry.mask.sparsity, 2),
        *_drawn(studio, view),
    ]


def _drawn(studio: Studio, view: View) -> list[Any]:
    """State, figures, picture, panel and the button under it."""
    panel = head_panel(view.mask, view.cell, size_of(view.mask), _curve(studio, view))
    return [view, mask_figures(view.mask, view.length), view.picture(), panel, _toggle_button(view)]


def _curve(studio: Studio, view: View) -> Curve:
    """The gate of the chosen head over its training."""
    if view.job_id is None:
        return []
    at = view.cell[0] * view.mask.kv_heads + view.cell[1]
    curve = []
    for step, data in studio.metrics.snapshots(view.job_id):
        gates = np.frombuffer(data, "<f4")
        if gates.size == view.mask.kept.size:
            curve.append((step, float(gates[at])))
    return curve


def _toggle_button(view: View) -> Any:
    words = "Compress this head" if view.mask.kept[view.cell] else "Keep this head"
    return gr.update(value=words, visible=True)


def _short(length: int) -> str:
    return f"{length // 1024}k" if length >= 1024 else str(length)


# --- files --------------------------------------------------------------------------------


def _store(studio: Studio, mask: HeadMask, parent: str | None, job_id: str | None) -> str:
    with told():
        record = mask.to_record()
        return studio.masks.save(record, parent_id=parent, job_id=job_id).id


def _file_name(mask: HeadMask) -> str:
    """A mask's name as a file name that every system takes."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in mask.name)
    return kept.strip("-.")[:60] or "mask"
