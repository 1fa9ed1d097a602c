"""The line under Start: how much memory the job of the form needs, and how much is free."""

from __future__ import annotations

import importlib
import sys
from html import escape
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.training.config import TrainConfig, make_config
from ui.components.config_form import read
from ui.events import QUIET


def memory_line(values: dict[str, Any]) -> str:
    """HTML of the line for the form's values, "" while it can't be told.

    It can't before torch is loaded, which is left to the engine: importing it here would hold up
    the page. What is wrong with the values is said by Start.
    """
    if "rlkv.models" not in sys.modules:
        return ""
    try:
        text: str = importlib.import_module("rlkv.training.memory").line(make_config(values))
    except UserError:
        return ""
    kind = "warn" if text.startswith("Out of memory") else "note"
    return f'<p class="{kind}">{escape(text)}</p>'


def watch_memory(names: list[str], values: list[Any], shown: gr.HTML) -> None:
    """Keeps the line true while the fields named `names` change."""

    def changed(*given: Any) -> str:
        return memory_line(read(TrainConfig, names, given))

    def waited(*given: Any) -> tuple[str, gr.Timer]:
        text = changed(*given)
        return text, gr.Timer(active=not text)

    waiting = gr.Timer(2.0)  # for the engine to load torch
    waiting.tick(waited, values, [shown, waiting], **QUIET)
    gr.on([value.change for value in values], changed, values, shown, **QUIET)


def refuse_what_cannot_fit(config: TrainConfig) -> None:
    """Raises UserError if it is certain that the job would run out of memory.

    Before torch is loaded it is left to the job, which looks before it does anything else.
    """
    if "rlkv.models" in sys.modules:
        importlib.import_module("rlkv.training.memory").refuse_what_cannot_fit(config)
