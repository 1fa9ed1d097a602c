"""The components of the heads page and where they stand.

Only how the page is laid out; `ui/heads/page.py` says what happens on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.components.charts import chart
from ui.components.header import header, html, section, title
from ui.components.headmap import head_map
from ui.components.slider import Slider
from ui.glossary import term
from ui.heads.card import MaskCard, mask_card
from ui.heads.screen import LENGTHS, OTHERS
from ui.heads.views import VIEWS


@dataclass(frozen=True)
class Budget:
    """The fields of "best heads under a memory budget"."""

    megabytes: gr.Number
    length: gr.Number
    batch: gr.Number
    apply: gr.Button
    said: gr.HTML


@dataclass(frozen=True)
class Page:
    """The page's components that events read or write."""

    screen: gr.State
    cell: gr.State
    """(layer, KV head) of the open panel; apart from the screen, so that opening a head while an
    edit is under way loses neither."""
    chooser: gr.Dropdown
    cut: Slider
    length: gr.Radio
    figures: gr.HTML
    view: gr.Radio
    other: gr.Dropdown
    map: gr.HTML
    edit: gr.Checkbox
    undo: gr.Button
    redo: gr.Button
    keep_layer: gr.Button
    compress_layer: gr.Button
    panel: gr.HTML
    toggle: gr.Button
    charts: list[gr.HTML]
    budget: Budget
    card: MaskCard

    def head(self) -> list[Any]:
        """What changes with the open head: as `screen.one_head` returns it."""
        return [self.panel, self.toggle, self.keep_layer, self.compress_layer]

    def drawn(self) -> list[Any]:
        """What changes with the cut or an edit: as `screen.drawn` returns it."""
        return [self.figures, self.map, *self.charts, self.undo, self.redo, *self.head()]

    def everything(self) -> list[Any]:
        """What changes with the mask."""
        return [
            self.chooser, self.view, self.other, self.edit, self.screen, self.cell, self.cut,
            self.budget.megabytes, *self.drawn(),
        ]  # fmt: skip


def lay_out() -> Page:
    """Adds the page's components to the open Blocks."""
    header("Heads")
    title(
        "Heads",
        f"Every cell is one {term('kv head', 'KV head')} of one "
        f"{term('layer', 'layer', after=',')} coloured by its {term('gate', 'gate', after='.')} "
        '<b class="full">Blue</b> heads turned out to need the whole past, '
        '<b class="comp">orange</b> ones get by with their '
        f"{term('sink', 'first')} and {term('recent', 'latest')} tokens. "
        f"Move the {term('sparsity', 'sparsity')} slider and click around.",
    )
    screen, cell = gr.State(None), gr.State(None)
    chooser, cut, length = _controls()
    figures = html(elem_id="figures")
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=300, elem_classes="card flush"):
            view, other = _views()
            picture = head_map(None, "map", in_address=True)
            edit, undo, redo, keep_layer, compress_layer = _edit_bar()
        with gr.Column(scale=4, min_width=300, elem_classes="card sticky"):
            panel = html(elem_id="panel")
            toggle = gr.Button("Compress this head", visible=False, elem_id="toggle")
    with gr.Row(elem_classes="card three"):
        small = [chart(None, name) for name in ("chart-gates", "chart-layers", "chart-saved")]
    return Page(
        screen, cell, chooser, cut, length, figures, view, other, picture, edit, undo, redo,
        keep_layer, compress_layer, panel, toggle, small, _budget(), mask_card(),
    )  # fmt: skip


def _controls() -> tuple[gr.Dropdown, Slider, gr.Radio]:
    with gr.Column(elem_classes="card"), gr.Row(equal_height=False):
        chooser = gr.Dropdown(
            [], label="Mask", interactive=True, elem_id="mask", scale=3, min_width=250
        )
        cut = Slider(
            0, 1, 0.5, step=0.01, label="Sparsity: share of KV heads compressed",
            elem_id="sparsity", scale=3, min_width=250,
        )  # fmt: skip
        length = gr.Radio(
            [(_short(n), n) for n in LENGTHS], value=512, label="Length in tokens",
            elem_id="length", scale=3, min_width=280, elem_classes="chips",
        )  # fmt: skip
    return chooser, cut, length


def _views() -> tuple[gr.Radio, gr.Dropdown]:
    view = gr.Radio(
        [(name, key) for key, name in VIEWS.items()], value="gate", show_label=False,
        label="What the map shows",
        container=False, elem_id="view", elem_classes="chips",
    )  # fmt: skip
    other = gr.Dropdown(
        OTHERS, label="Compared with", interactive=True, visible=False, elem_id="other"
    )
    return view, other


def _edit_bar() -> tuple[gr.Checkbox, gr.Button, gr.Button, gr.Button, gr.Button]:
    with gr.Row(elem_classes="actions edit-bar"):
        edit = gr.Checkbox(
            False, label="Edit: drag over cells", container=False, elem_id="edit", min_width=160
        )
        undo = gr.Button("Undo", size="sm", interactive=False, elem_id="undo", min_width=64)
        redo = gr.Button("Redo", size="sm", interactive=False, elem_id="redo", min_width=64)
        keep = gr.Button("Keep layer", size="sm", elem_id="keep-layer", min_width=64)
        compress = gr.Button("Compress layer", size="sm", elem_id="compress-layer", min_width=64)
    return edit, undo, redo, keep, compress


def _budget() -> Budget:
    with gr.Column(elem_classes="card flush"):
        section(
            "Best heads under a memory budget",
            "Keeps as many heads as fit, the ones needed most first. 1 MB is 1,000,000 bytes.",
        )
        with gr.Row(equal_height=False, elem_classes="fields budget"):
            megabytes = gr.Number(
                1.0, label="KV memory in MB", elem_id="budget-mb", min_width=110, scale=2
            )
            length = gr.Number(
                512, label="Length in tokens", precision=0, elem_id="budget-length",
                min_width=110, scale=2,
            )  # fmt: skip
            batch = gr.Number(
                1, label="Batch", precision=0, elem_id="budget-batch", min_width=80, scale=1
            )
            apply = gr.Button("Keep what fits", elem_id="budget", min_width=140, scale=1)
        said = html(elem_id="budget-said")
    return Budget(megabytes, length, batch, apply, said)


def _short(length: int) -> str:
    return f"{length // 1024}k" if length >= 1024 else str(length)
