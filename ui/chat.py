"""The chat page: one question, both models, token by token, with what each one's cache holds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.masks import HeadMask
from rlkv.tasks.tracing import draw, solve
from ui import catalogue
from ui.comparing import EXAMPLE, Comparing, idle
from ui.components.header import header, html, title
from ui.components.race import race_view
from ui.engine import LONGEST_PROMPT, MODEL
from ui.events import MODEL_RUNS, PRIVATE, QUIET
from ui.messages import refusal, told
from ui.studio import Studio

HINT = (
    '<p class="note">The embedded model knows one kind of puzzle: digits with names, and names '
    "made of two earlier ones, modulo 10. <code>e:c-b</code> defines e as c minus b, "
    "<code>?e</code> asks for it.</p>"
)
WAITING = '<p class="note">Waiting for the model: one question at a time.</p>'
LOADING = '<p class="note">The model is being loaded&hellip;</p>'
EXAMPLES = [
    EXAMPLE,
    "d=2; a=9; f:d+a; h:f-d; b:h-a; ?b",
    "l=5; g=8; c=1; a:l+g; k:a-c; e:k+g; i:e-a; ?i",
    "f=3; j=4; b=9; h:f+j; d:h-b; a:d+h; e:a-f; c:e+h; ?c",
]


@dataclass(frozen=True)
class Parts:
    """The page's components that events write to."""

    question: gr.Textbox
    send: gr.Button
    stop: gr.Button
    chooser: gr.Dropdown
    cut: gr.Slider
    slowly: gr.Checkbox
    status: gr.HTML
    race: gr.HTML

    def controls(self) -> list[Any]:
        return [self.status, self.send, self.stop]


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    header("Chat")
    title(
        "Chat",
        'The same question to the same model twice: once with a <b class="full">full</b> KV cache, '
        'once with some heads <b class="comp">compressed</b>. Both write one token in turn.',
    )
    with gr.Column(elem_classes="card"):
        question, send, stop = _question()
        with gr.Row():
            chooser = gr.Dropdown([], label="Mask", interactive=True, elem_id="mask", min_width=240)
            cut = gr.Slider(
                0, 1, 0.5, step=0.01, label="Sparsity: share of KV heads compressed",
                elem_id="sparsity", min_width=260,
            )  # fmt: skip
        slowly = gr.Checkbox(
            True, label="Slow enough to read; the speeds shown are the model's own",
            elem_id="slowly", container=False,
        )  # fmt: skip
        status = html(HINT, elem_id="status")
    with gr.Column(elem_classes="card"):
        race = race_view(idle(), "race")
    _wire(studio, app, Parts(question, send, stop, chooser, cut, slowly, status, race))


def _question() -> tuple[gr.Textbox, gr.Button, gr.Button]:
    with gr.Row(equal_height=True):
        question = gr.Textbox(
            EXAMPLES[2], show_label=False, container=False, lines=1, max_lines=4, scale=8,
            placeholder=EXAMPLE, max_length=LONGEST_PROMPT, autofocus=True,
            elem_id="question", min_width=280,
        )  # fmt: skip
        send = gr.Button("Send", variant="primary", scale=1, min_width=90, elem_id="send")
        stop = gr.Button("Stop", scale=1, min_width=90, interactive=False, elem_id="stop")
    with gr.Row(elem_classes="samples"):
        for text in EXAMPLES:
            sample = gr.Button(text, size="sm", scale=0, min_width=80, elem_classes="sample")
            sample.click(lambda text=text: text, None, question, **QUIET)
        fresh = gr.Button("New random problem", size="sm", scale=0, min_width=80, elem_id="random")
        fresh.click(_random_problem, None, question, **QUIET)
    return question, send, stop


def _wire(studio: Studio, app: gr.Blocks, p: Parts) -> None:
    def opened(request: gr.Request) -> tuple[Any, Any]:
        studio.engine.load_in_background()
        return _choose(studio, request.query_params.get("mask"))

    def chosen(key: str) -> Any:
        return _choose(studio, key)[1]

    app.load(opened, None, [p.chooser, p.cut], **QUIET)
    p.chooser.input(chosen, p.chooser, p.cut, **QUIET)
    _wire_answers(studio, app, p)


def _wire_answers(studio: Studio, app: gr.Blocks, p: Parts) -> None:
    comparing = Comparing(studio)

    def begin(request: gr.Request) -> tuple[Any, ...]:
        if comparing.is_running(request.session_hash):
            raise refusal("The last question is still being answered.")
        return WAITING, *_buttons(busy=True)

    def ask(
        question: str, key: str, sparsity: float, slowly: bool, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        with told():
            mask = _mask(studio, key, sparsity)
            yield idle(mask), HINT if studio.engine.ready else LOADING, *_buttons(busy=True)
            session = request.session_hash
            for shown in comparing.frames(session, str(question), mask, slowly=bool(slowly)):
                yield shown, HINT, gr.skip(), gr.skip()
            yield gr.skip(), _after(str(question)), *_buttons(busy=False)

    def halt(request: gr.Request) -> tuple[Any, ...]:
        shown = comparing.stop(request.session_hash)
        return shown or gr.skip(), HINT, *_buttons(busy=False)

    def failed() -> tuple[Any, ...]:
        return HINT, *_buttons(busy=False)

    def left(request: gr.Request) -> None:
        comparing.stop(request.session_hash)  # the tab was closed: nobody reads it any more

    pressed = gr.on([p.send.click, p.question.submit], begin, None, p.controls(), **PRIVATE)
    asked = pressed.success(
        ask, [p.question, p.chooser, p.cut, p.slowly], [p.race, *p.controls()],
        **MODEL_RUNS,
    )  # fmt: skip
    asked.failure(failed, None, p.controls(), **QUIET)
    p.stop.click(halt, None, [p.race, *p.controls()], cancels=[asked], **QUIET)
    app.unload(left)


def _choose(studio: Studio, key: str | None) -> tuple[Any, Any]:
    """The chooser with the mask called `key`, and that mask's cut."""
    entry = catalogue.find(studio, key)
    options = catalogue.choices(studio, model=MODEL)
    if entry is None or entry.mask.model != MODEL:
        entry = catalogue.find(studio, options[0][1]) if options else None
    if entry is None:
        return gr.update(choices=[], value=None), gr.skip()
    return gr.update(choices=options, value=entry.key), round(entry.mask.sparsity, 2)


def _mask(studio: Studio, key: str | None, sparsity: float) -> HeadMask:
    """The mask to answer under: as it was saved, or cut anew where the slider says otherwise."""
    entry = catalogue.find(studio, key)
    if entry is None:
        raise refusal("There is no mask yet: train one first.")
    if abs(entry.mask.sparsity - float(sparsity)) <= 0.005:
        return entry.mask
    return entry.mask.at_sparsity(float(sparsity))


def _after(question: str) -> str:
    """What to say under a finished comparison."""
    try:
        solve(question)
    except ValueError as error:
        return (
            '<p class="warn">This is not a complete puzzle, so the answers could not be checked: '
            f"{escape(str(error), quote=False)}</p>"
        )
    return HINT


def _buttons(*, busy: bool) -> tuple[Any, Any]:
    return gr.update(interactive=not busy), gr.update(interactive=busy)


def _random_problem() -> str:
    return draw(random.Random(), random.randint(5, 8)).prompt
