"""Files that are handed to the browser: where they are written, and the click that takes them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ui.events import PRIVATE
from ui.job_page import shown
from ui.messages import refusal, told

Contents = Callable[[str, str], tuple[str, bytes]]
"""File name and content of what a button gives of a job, by the job's id and the button's name."""


@dataclass(frozen=True)
class JobFiles:
    """The buttons by what they hand out, and the hidden one that does."""

    buttons: dict[str, gr.Button]
    file: gr.DownloadButton

    def wire(self, which: list[gr.State], contents: Contents, kind: str) -> None:
        """`which`: the job that a person chose, and what the page shows, (job id, ...); each may
        be None. `kind` is what the job is called."""
        for name, button in self.buttons.items():
            button.click(
                partial(_written, contents, kind, name), which, self.file, **PRIVATE
            ).success(None, None, None, **take(str(self.file.elem_id)))


def job_files(titles: Mapping[str, str], elem_id: str) -> JobFiles:
    """Adds a row of buttons, `get-NAME`, to the open layout."""
    with gr.Row(elem_classes="actions"):
        made = {
            name: gr.Button(title, size="sm", min_width=130, elem_id=f"get-{name}")
            for name, title in titles.items()
        }
    return JobFiles(made, gr.DownloadButton(visible="hidden", elem_id=elem_id))


def _written(contents: Contents, kind: str, name: str, wanted: Any, seen: Any) -> str:
    job_id = shown(wanted, seen)
    if not job_id:
        raise refusal(f"Choose {'an' if kind[0] in 'aeiou' else 'a'} {kind} first.")
    with told():
        file_name, data = contents(str(job_id), name)
    path = new_folder(kind) / file_name
    path.write_bytes(data)
    return str(path)


def new_folder(kind: str) -> Path:
    """An empty folder for one download, where Gradio may serve from and cleans up."""
    return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=os.environ.get("GRADIO_TEMP_DIR")))


def take(elem_id: str) -> dict[str, Any]:
    """Options of the event that presses the hidden download button once it has its file."""
    click = f"() => setTimeout(() => document.querySelector('#{elem_id}').click(), 60)"
    return {"js": click, "api_visibility": "private"}
