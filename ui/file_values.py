"""Which values of an event name files: those of the components that are made for files, no others.

Gradio takes any value that looks like one of its file objects for a file, wherever it stands: in
the notes of a mask that an endpoint answers with, in the text that a client sends for a search. It
would copy that file of this machine to where it is served, or fetch all that is at an address.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.data_classes import GradioModel, GradioRootModel
from gradio_client import utils as client_utils

COMPONENTS = (gr.File, gr.UploadButton, gr.DownloadButton)
_move = processing_utils.async_move_files_to_cache


def guard_file_values() -> None:
    """Has Gradio leave alone what is no file, and fetch nothing. For the whole process."""
    processing_utils.async_move_files_to_cache = _moved
    processing_utils.async_ssrf_protected_download = _refused
    client_utils.is_file_obj_with_meta = _looks_like_a_file


async def _moved(data: Any, block: Any, *more: Any, **options: Any) -> Any:
    if isinstance(block, COMPONENTS):
        return await _move(data, block, *more, **options)
    plain = data.model_dump() if isinstance(data, GradioModel | GradioRootModel) else data
    # A copy, as Gradio's.
    return await client_utils.async_traverse(plain, _as_it_is, lambda _: False)


def _looks_like_a_file(value: Any) -> bool:
    """As Gradio's, which fails over a `meta` that is a text."""
    meta = value.get("meta") if isinstance(value, dict) else None
    return (
        isinstance(meta, dict)
        and meta.get("_type") == "gradio.FileData"
        and isinstance(value.get("path"), str)
    )


async def _as_it_is(value: Any) -> Any:
    return value


async def _refused(url: str, cache_dir: str) -> str:
    raise gr.Error("Addresses are not fetched: load the file itself.", print_exception=False)
