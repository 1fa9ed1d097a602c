"""The line under Start: how much memory the job of the form needs, and how much is free."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.training.config import TrainConfig, make_config
from ui.components.config_form import read
from ui.events import FOLLOWS, QUIET
from ui.heavy import heavy
from ui.studio import Settings

PATIENCE_S = 0.8
"""How long the page waits for an answer: a quantised file takes seconds to be read."""
LATER_S = 4.0
"""When the page looks first, and again: torch is imported then, once the page is there."""
NOTHING = '<p class="note"></p>'
_looks = ThreadPoolExecutor(max_workers=2, thread_name_prefix="memory-line")


def memory_line(values: dict[str, Any]) -> str:
    """HTML of the line for the form's values, "" while it can't be told yet.

    What is wrong with the values is said by Start.
    """
    try:
        config = make_config(values)
        if not Settings.from_environment().allows(config.model):
            # Visitors must not look about on the owner's disk, or with the owner's token.
            return NOTHING
        text = _ask("line", config)
    except UserError:
        return NOTHING
    if text is None:
        return ""
    kind = "warn" if text.startswith("Out of memory") else "note"
    return f'<p class="{kind}">{escape(text)}</p>'


def watch_memory(names: list[str], values: list[Any], shown: gr.HTML) -> None:
    """Keeps the line true while the fields named `names` change."""

    def changed(*given: Any) -> tuple[str, gr.Timer]:
        text = memory_line(read(TrainConfig, names, given))
        return text, gr.Timer(active=not text)

    def ticked(*given: Any) -> list[Any]:
        text = memory_line(read(TrainConfig, names, given))
        return [text, gr.Timer(active=False)] if text else [gr.skip(), gr.skip()]

    again = gr.Timer(LATER_S)  # while torch or a model's file is being read
    again.tick(ticked, values, [shown, again], **QUIET)
    gr.on([value.change for value in values], changed, values, [shown, again], **FOLLOWS)


def refuse_what_cannot_fit(config: TrainConfig) -> None:
    """Raises UserError if it is certain, and known at once, that memory won't do.

    Else it is left to the job, which looks before it does anything.
    """
    if "rlkv.training.memory" in sys.modules:
        _ask("refuse_what_cannot_fit", config)


def _ask(function: str, config: TrainConfig) -> str | None:
    """The answer of `rlkv.training.memory`, None if it takes longer than the page waits.

    It needs torch, which is imported in a thread.
    """

    def work() -> str | None:
        module = heavy("rlkv.training.memory")
        answer: str | None = getattr(module, function)(config)
        return answer

    try:
        return _looks.submit(work).result(PATIENCE_S)
    except TimeoutError:
        return None
