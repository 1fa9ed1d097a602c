"""The components of the evaluation page and where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.components.eval_curves import curves_view
from ui.components.header import header, html, section, title
from ui.components.job_list import job_list_view
from ui.downloads import JobFiles
from ui.evaluation.answers import FILTERS
from ui.evaluation.files import eval_files
from ui.evaluation.form import EvalForm, eval_form
from ui.starting import switched_off
from ui.studio import Studio

_CELLS = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-cell]');
  if (button) trigger('open', {cell: button.dataset.cell});
});
"""
_PROBLEMS = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-problem]');
  if (button) trigger('open', {problem: Number(button.dataset.problem)});
});
element.addEventListener('keydown', event => {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!step) return;
  const all = [...element.querySelectorAll('[data-problem]')];
  const to = all[all.indexOf(document.activeElement) + step];
  if (to) { event.preventDefault(); to.focus(); to.click(); }
});
"""


@dataclass(frozen=True)
class Reading:
    """Where answers are read: two cells, a filter, the list, the pair."""

    panel: gr.Column
    a: gr.Dropdown
    b: gr.Dropdown
    wanted: gr.Radio
    list: gr.HTML
    pair: gr.HTML
    problem: gr.State
    shown: gr.State
    """What the list and the pair hold, as a digest."""


@dataclass(frozen=True)
class Page:
    """The page's components that events read or write."""

    form: EvalForm
    wanted: gr.State
    seen: gr.State
    origin: gr.State
    jobs: gr.HTML
    top: gr.HTML
    curves: gr.HTML
    tops: gr.HTML
    lengths: gr.HTML
    table: gr.HTML
    errors: gr.HTML
    stop: gr.Button
    resume: gr.Button
    clone: gr.Button
    more: gr.Column
    files: JobFiles
    reading: Reading

    def live(self) -> list[Any]:
        """What the clock repaints."""
        return [
            self.seen, self.jobs, self.top, self.curves, self.tops, self.lengths, self.table,
            self.errors, self.stop, self.resume, self.clone, self.more,
        ]  # fmt: skip


def lay_out(studio: Studio) -> Page:
    """Adds the page's components to the open Blocks."""
    may_start = studio.settings.may_train
    header("Evaluate")
    title(
        "Evaluate",
        "What does compression cost? The same problems under the "
        '<b class="full">full</b> cache and under every <b class="comp">compressed</b> one, at '
        "every sparsity. Each answer is kept, and can be read.",
    )
    if not may_start:
        html(switched_off("Starting jobs"))
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            with gr.Column(elem_classes="card"):
                form = eval_form(studio, may_start)
            with gr.Column(elem_classes="card flush"):
                section("Evaluations")
                jobs = job_list_view("jobs")
        with gr.Column(scale=8, min_width=320):
            top, curves, stop, resume, clone = _live()
            more, table, files, lengths, errors, tops = _results()
    reading = _reading()
    return Page(
        form, gr.State(None), gr.State(None), gr.State(None), jobs, top, curves, tops, lengths,
        table, errors, stop, resume, clone, more, files, reading,
    )  # fmt: skip


def _live() -> tuple[gr.HTML, gr.HTML, gr.Button, gr.Button, gr.Button]:
    """What is seen of a job while it runs: its head, its curves, and Stop, Resume and Clone."""
    with gr.Column(elem_classes="card"):
        top = html(elem_id="live")
        curves = curves_view("accuracy")
        with gr.Row(elem_classes="actions"):
            stop = gr.Button("Stop and keep the answers", visible=False, elem_id="stop")
            resume = gr.Button("Resume", visible=False, elem_id="resume")
            clone = gr.Button("Clone with changes", visible=False, elem_id="clone")
    return top, curves, stop, resume, clone


def _results() -> tuple[gr.Column, gr.HTML, JobFiles, gr.HTML, gr.HTML, gr.HTML]:
    """What there is to see once points are measured: all of it, then the table, files, lengths,
    errors and the curves of the top."""
    with gr.Column(visible=False, elem_id="results") as more:
        with gr.Column(elem_classes="card flush"):
            table = gr.HTML("", js_on_load=_CELLS, apply_default_css=False, elem_id="points")
            files = eval_files()
        with gr.Column(elem_classes="card flush"):
            lengths = curves_view("lengths")
        with gr.Column(elem_classes="card flush"):
            section("How answers ended", "Wrong answers differ: some end, others never do.")
            errors = html(elem_id="errors")
        with gr.Column(elem_classes="card flush", elem_id="top-card"):
            tops = curves_view("accuracy-top")
    return more, table, files, lengths, errors, tops


def _reading() -> Reading:
    with gr.Column(visible=False, elem_classes="card", elem_id="reading") as panel:
        section("Read the answers", "Two methods on the same problem, as they were written.")
        with gr.Row(equal_height=False):
            a = gr.Dropdown([], label="A", interactive=True, min_width=200, elem_id="cell-a")
            b = gr.Dropdown([], label="B", interactive=True, min_width=200, elem_id="cell-b")
            wanted = gr.Radio(
                [(words, key) for key, words in FILTERS.items()], value="all", label="Problems",
                elem_id="filter", elem_classes="chips", min_width=320,
            )  # fmt: skip
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=280):
                listed = gr.HTML(
                    "", js_on_load=_PROBLEMS, apply_default_css=False, elem_id="answers"
                )
            with gr.Column(scale=8, min_width=320):
                pair = html(
                    '<div class="blank">Choose a problem from the list.</div>', elem_id="pair"
                )
    return Reading(panel, a, b, wanted, listed, pair, gr.State(None), gr.State(""))
