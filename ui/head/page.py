"""Lays the page out and wires it: the head changes at once, what needs the model follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from ui.components.charts import chart
from ui.components.header import header, html, section
from ui.components.headmap import head_map, head_map_value, picked
from ui.engine import MODEL
from ui.events import EVERY, MODEL_RUNS, PRIVATE, QUIET
from ui.head import change, facts, looking, scores
from ui.head.here import Here, from_address, needs_a_press, require_model
from ui.heads.views import needed
from ui.messages import told
from ui.studio import Studio

NO_MASK = (
    '<div class="blank">There is no mask to look at yet. <a href="./train">Train one</a>, or '
    '<a href="./heads">load one</a>.</div>'
)
ADDRESS: dict[str, Any] = {
    # A moment later: the title is drawn after the event has ended.
    "js": "() => setTimeout(() => rlkvAddress('head', "
    "document.querySelector('#head-title [data-head]')?.dataset.head), 30)",
    "api_visibility": "private",
}
"""Puts the head on screen into the address bar."""


@dataclass(frozen=True)
class Parts:
    """The page's components that events write to."""

    here: gr.State
    title: gr.HTML
    map: gr.HTML
    figures: gr.HTML
    course: gr.HTML
    model: gr.Textbox
    looking: looking.Parts
    change: change.Parts
    scores: scores.Parts

    def known(self) -> list[Any]:
        """What is shown without the model."""
        return [self.here, self.title, self.map, self.figures, self.course, *self.scores.shown()]


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    header("Heads")
    here = gr.State(None)
    title = html(elem_id="head-title")
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_classes="card flush"):
            picture = head_map(None, "head-map")
        with gr.Column(scale=6, min_width=320, elem_classes="card"):
            figures = html(elem_id="head-figures")
            course = chart(None, "head-course")
    with gr.Column(elem_classes="card"):
        look = looking.build()
    with gr.Column(elem_classes="card"):
        effect = change.build()
    table = scores.build()
    with gr.Column(elem_classes="card", visible=False) as other:
        section("Model", "What the measurements on this page run on.")
        model = gr.Textbox(
            show_label=False, label="Model", container=False, max_length=500, elem_id="head-model",
            placeholder="A Hub id, a folder or a .gguf file; Enter loads it",
        )  # fmt: skip
    parts = Parts(here, title, picture, figures, course, model, look, effect, table)
    _wire_opening(studio, app, parts, other)
    _wire_moves(studio, parts)
    _wire_measurements(studio, parts)


def _wire_opening(studio: Studio, app: gr.Blocks, p: Parts, other: gr.Column) -> None:
    def opened(request: gr.Request) -> list[Any]:
        here = from_address(studio, request.query_params)
        if here is None:
            return [None, NO_MASK, *[gr.skip()] * (len(p.known()) - 2), *[gr.skip()] * 4]
        if here.model == MODEL:
            studio.engines.load(here.model)
        text = looking.default_text(here)
        choosable = not studio.settings.shared and here.model != MODEL
        return [*_known(studio, here), text, text, here.model, gr.update(visible=choosable)]

    fields = [p.looking.text, p.change.question, p.model, other]
    shown = app.load(opened, None, [*p.known(), *fields], **QUIET)
    looked = shown.then(_quietly(studio, p), _inputs(p), p.looking.shown(), **MODEL_RUNS)
    compared = looked.then(
        _first_change(studio), [p.here, p.change.question, p.change.base], p.change.shown(),
        **MODEL_RUNS,
    )  # fmt: skip
    compared.then(_measured(studio, ask=False), p.here, p.scores.shown(), **MODEL_RUNS)


def _wire_moves(studio: Studio, p: Parts) -> None:
    def pick(here: Here | None, event: gr.EventData) -> list[Any]:
        cell = picked(getattr(event, "_data", None), here.mask.shape) if here else None
        if here is None or cell is None:
            return [gr.skip()] * len(p.known())
        return _known(studio, here.at(cell))

    moved = p.map.pick(pick, p.here, p.known(), **EVERY)
    moved.then(None, None, None, **ADDRESS)
    looked = moved.then(_quietly(studio, p), _inputs(p), p.looking.shown(),
                        trigger_mode="always_last", **MODEL_RUNS)  # fmt: skip
    looked.then(
        _first_change(studio), [p.here, p.change.question, p.change.base], p.change.shown(),
        trigger_mode="always_last", **MODEL_RUNS,
    )  # fmt: skip


def _wire_measurements(studio: Studio, p: Parts) -> None:
    def look(here: Here | None, text: str, kind: str, group: str, read: Any) -> list[Any]:
        if here is None:
            return [gr.skip()] * len(p.looking.shown())
        with told():
            require_model(studio, here)
            return looking.measure(studio, here, str(text), kind, str(group), read)

    def compare(here: Here | None, question: str, base: str) -> list[Any]:
        if here is None:
            return [gr.skip()] * len(p.change.shown())
        with told():
            require_model(studio, here)
            return change.measure(studio, here, str(question), base)

    def other_model(here: Here | None, ref: str) -> list[Any]:
        if here is None or not ref.strip():
            return [gr.skip()] * len(p.known())
        here = here.on(ref.strip())
        with told():
            require_model(studio, here)
        studio.engines.load(here.model)
        return _known(studio, here)

    gr.on(
        [p.looking.button.click, p.looking.text.submit, p.looking.group.input],
        look, _inputs(p), p.looking.shown(), **MODEL_RUNS,
    )  # fmt: skip
    gr.on(
        [p.change.button.click, p.change.question.submit, p.change.base.input],
        compare, [p.here, p.change.question, p.change.base], p.change.shown(), **MODEL_RUNS,
    )  # fmt: skip
    p.model.submit(other_model, [p.here, p.model], p.known(), **PRIVATE).success(
        look, _inputs(p), p.looking.shown(), **MODEL_RUNS
    )
    p.scores.button.click(_measured(studio, ask=True), p.here, p.scores.shown(), **MODEL_RUNS)


def _inputs(p: Parts) -> list[Any]:
    q = p.looking
    return [p.here, q.text, q.kind, q.group, q.read]


def _known(studio: Studio, here: Here) -> list[Any]:
    """State, title, map, figures, curve and the table: nothing of it needs the model."""
    shown = needed(here.mask)
    picture = head_map_value(
        shown.values, kept=here.mask.kept, selected=here.cell, texts=shown.texts,
        hover=shown.hover, legend=shown.legend, name=shown.name, column=shown.column,
    )  # fmt: skip
    return [
        here,
        facts.title(here),
        picture,
        facts.figures(here),
        facts.course(studio, here),
        *scores.known(studio, here),
    ]


def _quietly(studio: Studio, p: Parts) -> Any:
    """Looks without being asked to: what keeps it from that is said in place, not as an error."""

    def look(here: Here | None, text: str, kind: str, group: str, read: Any) -> list[Any]:
        nothing = [gr.skip()] * (len(p.looking.shown()) - 2)
        if here is None or not str(text).strip():
            return [gr.skip(), gr.skip(), *nothing]
        try:
            require_model(studio, here)
            if needs_a_press(studio, here):
                raise UserError(f"Press Look to load {here.model}.")
            return looking.measure(studio, here, str(text), kind, str(group), read)
        except UserError as error:
            return [gr.skip(), looking.why_not(str(error)), *nothing]

    return look


def _first_change(studio: Studio) -> Any:
    """Compares without being asked to, on the embedded model: others take their time."""

    def compare(here: Here | None, question: str, base: str) -> list[Any]:
        if here is None or here.model != MODEL or not str(question).strip():
            return [gr.skip()] * 2
        try:
            return change.measure(studio, here, str(question), base)
        except UserError as error:
            return [looking.why_not(str(error)), gr.skip()]

    return compare


def _measured(studio: Studio, *, ask: bool) -> Any:
    """Measures all heads where that has not been done; unasked on the embedded model only."""

    def measure(here: Here | None) -> list[Any]:
        if here is None or (not ask and here.model != MODEL):
            return [gr.skip()] * 3
        with told():
            require_model(studio, here)
            return scores.measure(studio, here)

    return measure
