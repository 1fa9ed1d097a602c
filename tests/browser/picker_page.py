"""A page with a model picker that loads and one that only shows: what its tests point at.

python -m tests.browser.picker_page PORT FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import gradio as gr

from ui.components.header import html
from ui.models.picker import model_picker
from ui.shell import launch_options
from ui.studio import Settings, Studio


def build(studio: Studio) -> gr.Blocks:
    """The page, not launched."""
    with gr.Blocks() as app:
        with gr.Column(elem_classes="card"):
            picker = model_picker(studio, "chat")
            told = html(elem_id="told")
            picker.wire(lambda ref: f"<p>ready: {ref}</p>", (), told)
        with gr.Column(elem_classes="card"):
            model_picker(studio, "eval", loads=False)
    return app


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    app = build(Studio.open(Settings(data_dir=folder)))
    app.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), **launch_options(folder))
