"""The components of the library and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.components.header import header, section, title

_EVENTS = (
    "rename", "remove", "restore", "forget", "average", "take", "link", "unlink", "keep",
    "keep_all", "discard",
)  # fmt: skip
_LIVE = """
const start = () => {
  if (!window.rlkvLibrary) return setTimeout(start, 30);
  rlkvLibrary.mount(element, {EVENTS});
};
start();
"""


@dataclass(frozen=True)
class Page:
    """The page's components that events read or write."""

    words: gr.Textbox
    model: gr.Dropdown
    bar: gr.HTML
    shelf: gr.HTML
    share: gr.HTML
    files: gr.File
    imports: gr.HTML
    pending: gr.State
    file: gr.DownloadButton

    def listed(self) -> list[Any]:
        """What changes with the masks: as `page.listed` returns it."""
        return [self.model, self.bar, self.shelf]


def lay_out() -> Page:
    """Adds the page's components to the open Blocks."""
    header("Masks")
    title(
        "Masks",
        "Every mask that is kept here. Open one, compare two, average seeds, take one away as a "
        "file or a link. Files of others are shown before they are kept.",
    )
    with gr.Column(elem_classes="card flush"):
        with gr.Row(equal_height=False, elem_classes="finding"):
            words = gr.Textbox(
                placeholder="Search name, model, task, seed, origin", show_label=False,
                label="Search the masks",
                container=False, max_length=200, elem_id="search", scale=3, min_width=220,
            )  # fmt: skip
            model = gr.Dropdown(
                [("All models", "")], value="", show_label=False, container=False,
                label="Model of the masks",
                interactive=True, elem_id="of-model", scale=2, min_width=200,
            )  # fmt: skip
        bar = live_html("undo-delete")
        share = live_html("share")
        shelf = live_html("shelf")
    with gr.Column(elem_classes="card flush", elem_id="import"):
        section(
            "Import",
            "A mask of this app (.zip), a DuoAttention folder (.zip), adapter_weights.tsv of RLKV, "
            "or head scores such as those of KVzip (.json, .npy, .safetensors, .tsv).",
        )
        files = gr.File(
            file_count="multiple", show_label=False, label="Files of masks",
            height=150, elem_id="files", type="filepath",
        )  # fmt: skip
        imports = live_html("imports")
    file = gr.DownloadButton(visible="hidden", elem_id="library-file")
    return Page(words, model, bar, shelf, share, files, imports, gr.State(()), file)


def live_html(elem_id: str) -> gr.HTML:
    """HTML whose buttons with `data-do` fire events: see `static/library.js`."""
    sends = ", ".join(f"'{name}': data => trigger('{name}', data)" for name in _EVENTS)
    return gr.HTML(
        "", js_on_load=_LIVE.replace("{EVENTS}", f"{{{sends}}}"), apply_default_css=False,
        elem_id=elem_id,
    )  # fmt: skip
