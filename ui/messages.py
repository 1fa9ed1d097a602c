"""How a person's mistake becomes one line on the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr

from rlkv.errors import UserError
from storage.errors import StorageError


@contextmanager
def told() -> Iterator[None]:
    """Shows a UserError or StorageError as it is; anything else stays a defect and is logged."""
    try:
        yield
    except (UserError, StorageError) as error:
        raise refusal(str(error)) from error


def refusal(words: str) -> gr.Error:
    """An error with one line for the person and no trace in the log.

    Gradio shows messages as HTML, so what a person typed or uploaded is escaped.
    """
    return gr.Error(escape(words, quote=False), print_exception=False)


def notice(words: str) -> None:
    """A short message that something was done."""
    gr.Info(escape(words, quote=False), duration=4)
