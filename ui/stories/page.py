"""The page of the stories. Everything plays in the browser (`static/stories.js`), on records."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gradio as gr

from ui.components.header import header, html, section, title
from ui.glossary import glossary_list
from ui.stories import forgets, half, stays
from ui.stories.telling import Story
from ui.studio import Studio

WORDS = (
    "Each takes a minute. All of it was measured on the small model that comes with the app: "
    "point, click and look around."
)
TELLERS: tuple[Callable[[], Story], ...] = (forgets.story, stays.story, half.story)
MISSING = (
    '<div class="blank">The stories are not in this copy. Record them with '
    "<code>python examples/record_stories.py</code>.</div>"
)

_JS = """
const start = () => window.rlkvStories
  ? rlkvStories.mount(element.querySelector('.stories'), props.value) : setTimeout(start, 30);
start();
"""


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components to the open Blocks."""
    header("Stories")
    title("Three short stories", WORDS)
    told = stories()
    if told:
        gr.HTML(
            {"stories": [story.to_value() for story in told]},
            html_template='<div class="stories"></div>',
            js_on_load=_JS,
            apply_default_css=False,
            elem_id="stories",
        )
    else:
        html(MISSING)
    with gr.Column(elem_classes="card flush", elem_id="glossary"):
        section("The words", "All terms that this app uses, in plain language.")
        html(glossary_list())


def stories() -> list[Story]:
    """Those whose records are in this copy and whole."""
    found = []
    for tell in TELLERS:
        try:
            found.append(tell())
        except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration):
            logging.getLogger(__name__).warning("a story can't be told", exc_info=True)
    return found
