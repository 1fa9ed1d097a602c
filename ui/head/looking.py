"""The part of the page that shows where the head looks, on a text that a person can change."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.tasks import Problem, get_task
from ui import zero_gpu
from ui.components.charts import bars_value, chart, stack_value
from ui.components.header import html, section
from ui.components.tokens import tokens, tokens_value
from ui.glossary import term
from ui.head.here import Here
from ui.heavy import heavy
from ui.measured import task_of
from ui.studio import Studio
from ui.units import percent

if TYPE_CHECKING:
    from rlkv.explore.one_head import OneHead

ONE_HEAD = "rlkv.explore.one_head"
LONGEST = 1024
"""Tokens of a text: the browser gets a weight for each pair."""
ANSWER = 256
"""Tokens of the model's own answer."""
QUESTION, PLAIN = "A question; the model writes its answer", "A text as it is"
DRAWN = 8
NOTHING_FAR = (
    '<p class="note">No token of this text is out of a compressed head\'s sight: write a longer '
    "one.</p>"
)


@dataclass(frozen=True)
class Parts:
    """Components that events read and write."""

    text: gr.Textbox
    kind: gr.Radio
    group: gr.Radio
    button: gr.Button
    status: gr.HTML
    masses: gr.HTML
    distances: gr.HTML
    tokens: gr.HTML
    far: gr.HTML
    read: gr.State

    def shown(self) -> list[Any]:
        """What a measurement fills."""
        pictures = [self.masses, self.distances, self.tokens, self.far]
        return [self.read, self.status, self.group, *pictures]


@dataclass(frozen=True)
class Read:
    """A text as the model read it; another head looks at the same one."""

    model: str
    asked: tuple[str, str]
    """The text and its kind."""
    ids: tuple[int, ...]
    answer_from: int | None


def build() -> Parts:
    """Lays the part out."""
    section(
        "Where it looks",
        "Point at a token to see where it looks. Hatched tokens are "
        f"{term('far', 'far', after=',')} out of a {term('compressed', 'compressed')} head's "
        f"sight: neither {term('sink', 'sinks')} nor {term('recent', 'recent', after='.')}",
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=8, min_width=280):
            text = gr.Textbox(
                show_label=False, label="Text to look at", container=False,
                lines=2, max_lines=8, max_length=8000,
                placeholder="Write a question or a text", elem_id="look-text",
            )  # fmt: skip
        with gr.Column(scale=3, min_width=220):
            kind = gr.Radio(
                [QUESTION, PLAIN], value=QUESTION, show_label=False, container=False,
                label="What the text is",
                elem_id="look-kind",
            )  # fmt: skip
        button = gr.Button("Look", variant="primary", scale=1, min_width=90, elem_id="look")
    status = html(elem_id="look-status")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=280):
            masses = chart(None, "look-masses")
        with gr.Column(scale=6, min_width=280):
            distances = chart(None, "look-distances")
    group = gr.Radio(["Mean"], value="Mean", label="Query head", elem_id="look-group",
                     visible=False, elem_classes="chips")  # fmt: skip
    view = tokens(None, "look-tokens")
    far = html(elem_id="look-far")
    return Parts(text, kind, group, button, status, masses, distances, view, far, gr.State(None))


def default_text(here: Here) -> str:
    """A question of the task that the mask was learned on; "" where its data is not here."""
    problem = default_problem(here)
    return problem.prompt if problem else ""


def default_problem(here: Here) -> Problem | None:
    """The largest of a few: far tokens need a long text."""
    try:
        drawn = get_task(task_of(here.mask)).problems(DRAWN, seed=1, split="test")
    except (UserError, OSError):
        return None
    return max(drawn, key=lambda problem: problem.size, default=None)


def why_not(words: str) -> str:
    """HTML of what keeps a measurement from being made."""
    return f'<p class="warn">{escape(words, quote=False)}</p>'


def measure(
    studio: Studio, here: Here, text: str, kind: str, group: str, read: Read | None
) -> list[Any]:
    """Fills the part. The text is read anew only if it, its kind or the model has changed.

    Raises:
        UserError: whatever keeps the model from reading it.
    """
    with studio.lease(here.model) as loaded:
        return _measured(loaded, here, text, kind, group, read)


def _measured(
    loaded: tuple[Any, Any], here: Here, text: str, kind: str, group: str, read: Read | None
) -> list[Any]:
    model, tokenizer = loaded
    module = heavy(ONE_HEAD)
    window = heavy("rlkv.streaming").StreamingWindow(here.mask.sink, here.mask.recent)
    layers, kv_heads = heavy("rlkv.layout").layout_of(model).shape
    here.mask.require_shape(layers, kv_heads, here.model)
    if read is None or (read.model, read.asked) != (here.model, (text, kind)):
        if kind == PLAIN:
            ids, begin = module.read_text(model, tokenizer, text, LONGEST), None
        else:
            ids, begin = zero_gpu.measure(
                here.model, loaded, f"{ONE_HEAD}:read_question", text.strip(), LONGEST, ANSWER
            )
        read = Read(here.model, (text, kind), tuple(ids), begin)
    found = zero_gpu.measure(
        here.model, loaded, f"{ONE_HEAD}:one_head",
        list(read.ids), here.cell, window, read.answer_from,
    )  # fmt: skip
    return [read, *_filled(here, found, group)]


def _filled(here: Here, found: OneHead, group: str) -> list[Any]:
    count = len(found.weights)
    first = here.cell[1] * count
    names = ["Mean", *(str(first + g) for g in range(count))]
    group = group if group in names else "Mean"
    pattern = found.weights.mean(0) if group == "Mean" else found.weights[names.index(group) - 1]
    chooser = gr.update(choices=names, value=group, visible=count > 1)
    query = len(found.pieces) - 1 if found.answer_from is None else found.answer_from
    view = tokens_value(
        f"Attention of head {here.head}",
        found.pieces,
        pattern=pattern,
        window=(here.mask.sink, here.mask.recent),
        query=found.far[0].query if found.far else query,
        name=f"attention-{here.head}",
    )
    return ["", chooser, _masses(here, found), _distances(here, found), view, _far(found)]


def _masses(here: Here, found: OneHead) -> dict[str, Any]:
    return stack_value(
        "Attention on average",
        [("sinks", "sink"), ("recent", "recent"), ("far", "far")],
        list(found.masses),
        unit="%",
        note=f"{percent(found.masses[2])} of it is out of a compressed head's sight",
        name=f"masses-{here.head}",
    )


def _distances(here: Here, found: OneHead) -> dict[str, Any]:
    edges = found.edges
    spans = itertools.pairwise(edges)
    labels = [str(a) if b - a == 1 else f"{a}-{b - 1}" for a, b in spans]
    return bars_value(
        "By distance",
        list(found.by_distance),
        labels,
        roles=[_role(edges[i + 1], here.mask.recent) for i in range(len(labels))],
        x="tokens back",
        unit="%",
        name=f"distance-{here.head}",
        height=170,
    )


def _role(end: int, recent: int) -> Any:
    """Bars of distances within the recent window, and beyond."""
    return "recent" if end <= recent else "far"


def _far(found: OneHead) -> str:
    """The far tokens that it looks at most, as a list of ours; all texts escaped."""
    if not found.far:
        return NOTHING_FAR
    top = found.far[:8]
    rows = [
        _far_row(found.pieces, token.position, token.mass / top[0].mass, token.query)
        for token in top
    ]
    heading = '<h3 class="cap2">Far tokens it attends to most</h3>'
    return f'{heading}<ol class="far-list">{"".join(rows)}</ol>'


def _far_row(pieces: Sequence[str], position: int, share: float, query: int) -> str:
    word, asker = (escape(pieces[i].strip() or "␣") for i in (position, query))
    return (
        f'<li><code>{word}</code><span class="at">token {position}</span>'
        f'<i style="width:{100 * share:.0f}%"></i>'
        f'<span class="by">most from <code>{asker}</code> at {query}</span></li>'
    )
