"""The components of the chat page and where they stand.

Only how the page is laid out; `ui/chat/page.py` says what happens on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import gradio as gr

from rlkv.tasks.tracing import draw
from ui.chat.filler import LENGTHS
from ui.chat.sides import FULL, RANDOM, Choice, choices, default_choice
from ui.chat.widgets import chat_list, memory, talk
from ui.components.header import header, html, title
from ui.components.slider import Slider
from ui.engine import MODEL
from ui.events import QUIET
from ui.glossary import term
from ui.models.picker import Picker, model_picker
from ui.studio import Studio

EXAMPLE = "c=7; b=6; e:c-b; k:c-e; ?k"
EXAMPLES = [
    EXAMPLE,
    "d=2; a=9; f:d+a; h:f-d; b:h-a; ?b",
    "l=5; g=8; c=1; a:l+g; k:a-c; e:k+g; i:e-a; ?i",
    "f=3; j=4; b=9; h:f+j; d:h-b; a:d+h; e:a-f; c:e+h; ?c",
]
HINT = (
    '<p class="note">The embedded model knows one kind of puzzle: digits with names, and names '
    "made of two earlier ones, modulo 10. <code>e:c-b</code> defines e as c minus b, "
    "<code>?e</code> asks for it.</p>"
)
WHICH = [("Both", "both"), ("First", "first"), ("Second", "second"), ("Three", "three")]


@dataclass(frozen=True)
class Side:
    """The fields of one side."""

    box: gr.Column
    key: gr.Dropdown
    cut: gr.Column
    sparsity: Slider
    sink: gr.Number
    recent: gr.Number

    def fields(self) -> list[Any]:
        return [self.key, self.sparsity, self.sink, self.recent]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn, and what is read."""

    blind: gr.Checkbox
    temperature: Slider
    top_p: Slider
    seed: gr.Number
    longest: gr.Number
    system: gr.Textbox
    remember: gr.Checkbox
    slowly: gr.Checkbox

    def fields(self) -> list[Any]:
        return [
            self.blind, self.temperature, self.top_p, self.seed, self.longest, self.system,
            self.remember, self.slowly,
        ]  # fmt: skip


@dataclass(frozen=True)
class Filling:
    """The buttons that fill the prompt."""

    buttons: list[gr.Button]
    note: gr.HTML


@dataclass(frozen=True)
class Kept:
    """The column of conversations."""

    new: gr.Button
    list: gr.HTML
    markdown: gr.Button
    json: gr.Button
    load: gr.UploadButton
    file: gr.DownloadButton
    tally: gr.HTML


@dataclass(frozen=True)
class Page:
    """The page's components that events read or write."""

    picker: Picker
    screen: gr.State
    talk: gr.HTML
    question: gr.Textbox
    send: gr.Button
    stop: gr.Button
    status: gr.HTML
    samples: gr.Row
    which: gr.Radio
    sides: list[Side]
    no_mask: gr.HTML
    other: gr.HTML
    """What to say where a chosen mask was learned on something else."""
    sampling: Sampling
    filling: Filling
    kept: Kept

    def settings(self) -> list[Any]:
        """Everything an answer depends on, as `plan.settings_of` takes it."""
        fields = [field for side in self.sides for field in side.fields()]
        return [self.picker.model, self.which, *fields, *self.sampling.fields()]

    def drawn(self) -> list[Any]:
        """What shows the open conversation and the others."""
        return [self.screen, self.talk, self.kept.list, self.kept.tally]

    def buttons(self) -> list[Any]:
        """Send and Stop, as `busy` sets them."""
        return [self.send, self.stop]


def lay_out(
    studio: Studio, first: dict[str, Any], server_functions: list[Callable[..., Any]]
) -> Page:
    """Adds the page's components to the open Blocks."""
    header("Chat")
    title(
        "Chat",
        'One question, one model, two KV caches: <b class="full">full</b>, and with some heads '
        '<b class="comp">compressed</b>. They take turns, one token each.',
    )
    screen = gr.State(None)
    with gr.Row(elem_classes="chat-grid", equal_height=False):
        with gr.Column(elem_classes="card chat-kept", min_width=200, scale=2):
            kept = _kept()
        with gr.Column(elem_classes="card chat-talk", min_width=300, scale=7):
            transcript = talk(first, server_functions)
            question, send, stop = _composer()
            status = html(HINT, elem_id="status")
            samples = _samples(question)
        with gr.Column(elem_classes="chat-side", min_width=280, scale=3):
            with gr.Column(elem_classes="card chat-memory"):
                memory()
            with gr.Column(elem_classes="card chat-settings"):
                which, sides, (no_mask, other), blind, slowly = _sides(studio)
                picker = model_picker(studio, "chat")
                sampling, filling = _sampling(blind, slowly), _filling()
    return Page(
        picker, screen, transcript, question, send, stop, status, samples, which, sides, no_mask,
        other, sampling, filling, kept,
    )  # fmt: skip


def _kept() -> Kept:
    with gr.Accordion("Conversations", open=True, elem_id="chats"):
        new = gr.Button("New conversation", size="sm", elem_id="new-chat")
        listed = chat_list({"chats": [], "open": None})
        with gr.Row(elem_classes="actions chat-files"):
            markdown = gr.Button("Markdown", size="sm", elem_id="save-md", min_width=60)
            json = gr.Button("JSON", size="sm", elem_id="save-json", min_width=60)
            load = gr.UploadButton(
                "Import", size="sm", file_types=[".json"], elem_id="import-chat", min_width=60
            )
        file = gr.DownloadButton(visible="hidden", elem_id="chat-file")
        tally = html(elem_id="tally")
    return Kept(new, listed, markdown, json, load, file, tally)


def _composer() -> tuple[gr.Textbox, gr.Button, gr.Button]:
    with gr.Row(equal_height=False, elem_classes="composer"):
        question = gr.Textbox(
            EXAMPLES[2], show_label=False, label="Question", container=False,
            lines=1, max_lines=6, scale=8, placeholder="Ask both sides",
            elem_id="question", min_width=200,
        )  # fmt: skip
        send = gr.Button("Send", variant="primary", scale=1, min_width=76, elem_id="send")
        stop = gr.Button("Stop", scale=1, min_width=76, interactive=False, elem_id="stop")
    return question, send, stop


def _samples(question: gr.Textbox) -> gr.Row:
    with gr.Row(elem_classes="samples") as row:
        fresh = gr.Button("New random problem", size="sm", scale=0, min_width=80, elem_id="random")
        fresh.click(_random_problem, None, question, **QUIET)
        for text in EXAMPLES:
            sample = gr.Button(text, size="sm", scale=0, min_width=80, elem_classes="sample")
            sample.click(lambda text=text: text, None, question, **QUIET)
    return cast(gr.Row, row)


def _sides(
    studio: Studio,
) -> tuple[gr.Radio, list[Side], tuple[gr.HTML, gr.HTML], gr.Checkbox, gr.Checkbox]:
    which = gr.Radio(
        WHICH, value="both", label="Sides that answer", elem_id="which", elem_classes="chips"
    )
    words = html(elem_id="no-mask"), html(elem_id="other-mask")
    names = ("First side", "Second side", "Third side")
    options, best = choices(studio, MODEL, None), default_choice(studio, MODEL, None)
    keys = (FULL, best.key, RANDOM)
    sides = [_side(i, names[i], options, replace(best, key=keys[i])) for i in range(3)]
    html('<p class="note">Changes made while it writes take effect with the next token.</p>')
    blind = gr.Checkbox(
        False, label="Blind: no names, in random order, until you vote", elem_id="blind",
        container=False,
    )  # fmt: skip
    slowly = gr.Checkbox(
        True, label="Slow down for reading (speeds shown stay the model's own)",
        elem_id="slowly", container=False,
    )  # fmt: skip
    return which, sides, words, blind, slowly


def _sampling(blind: gr.Checkbox, slowly: gr.Checkbox) -> Sampling:
    with gr.Accordion("Sampling", open=False, elem_id="sampling"):
        temperature = Slider(
            0, 2, 0, step=0.05, label="Temperature (0: always the likeliest)", elem_id="temperature"
        )
        top_p = Slider(0.05, 1, 1, step=0.05, label="Top-p", elem_id="top-p")
        with gr.Row(elem_classes="two-fields"):
            seed = gr.Number(0, label="Seed", precision=0, elem_id="seed", min_width=80)
            longest = gr.Number(
                256, label="Longest answer", precision=0, elem_id="longest", min_width=80
            )
        remember = gr.Checkbox(
            False, label="Read the earlier turns too", elem_id="remember", container=False
        )
        system = gr.Textbox(
            "", label="System prompt (optional)", lines=2, max_lines=6, elem_id="system"
        )
    return Sampling(blind, temperature, top_p, seed, longest, system, remember, slowly)


def _side(i: int, name: str, options: list[tuple[str, str]], first: Choice) -> Side:
    # Every choice is checked where it is used, against the masks that there are then.
    with gr.Column(visible=i < 2, elem_classes="one-side", elem_id=f"side-{i}") as box:
        chooser = gr.Dropdown(
            options, value=first.key, label=name,
            interactive=True, elem_id="mask" if i == 1 else f"mask-{i}",
        )  # fmt: skip
        with gr.Column(visible=not first.is_full, elem_classes="cut-fields") as cut:
            sparsity = Slider(
                0, 1, first.sparsity, step=0.01, label="Sparsity: share of KV heads compressed",
                elem_id="sparsity" if i == 1 else f"sparsity-{i}",
            )  # fmt: skip
            with gr.Row(elem_classes="two-fields"):
                sink = gr.Number(
                    first.sink,
                    label="First tokens kept",
                    precision=0,
                    elem_id=f"sink-{i}",
                    min_width=80,
                )
                recent = gr.Number(
                    first.recent,
                    label="Latest kept",
                    precision=0,
                    elem_id=f"recent-{i}",
                    min_width=80,
                )
    return Side(box, chooser, cut, sparsity, sink, recent)


def _filling() -> Filling:
    with gr.Accordion("Long prompt", open=False, elem_id="long"):
        html(
            f'<p class="note">Fills the question with filler and one fact to find, so that the '
            f"saving can be seen where it counts: {term('far', 'far')} tokens.</p>"
        )
        with gr.Row(elem_classes="samples fills"):
            buttons = [
                gr.Button(f"{n:,}", size="sm", scale=0, min_width=56, elem_id=f"fill-{i}")
                for i, n in enumerate(LENGTHS)
            ]
        note = html(elem_id="fill-note")
    return Filling(buttons, note)


def _random_problem() -> str:
    return draw(random.Random(), random.randint(5, 8)).prompt
