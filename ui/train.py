"""The train page: start a job, watch its heatmap form, stop and resume it.

Everything shown comes from the database, so the page can be left, reloaded, opened twice, or
served by another process: the job goes on by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.training.cloning import carried_over
from rlkv.training.config import TrainConfig, make_config
from rlkv.worker import create
from storage.jobs import Job
from storage.supervisor import ensure_running
from ui import job_view
from ui.components.charts import chart
from ui.components.config_form import read
from ui.components.header import header, html, section, title
from ui.components.headmap import head_map
from ui.components.job_list import LISTED, job_list, job_list_view
from ui.components.memory_line import refuse_what_cannot_fit
from ui.downloads import JobFiles
from ui.events import PRIVATE, QUIET
from ui.job_files import training_files, wire_files
from ui.job_form import NAMES, JobForm, filled, job_form, wire_form
from ui.job_page import SHOW_FORM, SHOW_JOB, Seen, chosen, default_job, request_key, wire_job
from ui.messages import told
from ui.starting import starting, switched_off
from ui.studio import Studio

KIND = "train"
LIVE = 11
"""How many parts the clock repaints."""


@dataclass(frozen=True)
class Parts:
    """The page's components that events write to."""

    form: JobForm
    wanted: gr.State
    seen: gr.State
    jobs: gr.HTML
    top: gr.HTML
    plot: gr.HTML
    curves: gr.HTML
    log: gr.HTML
    stop: gr.Button
    resume: gr.Button
    clone: gr.Button
    about: gr.Accordion
    facts: gr.HTML
    files: JobFiles
    origin: gr.State

    def live(self) -> list[Any]:
        """What the clock repaints."""
        return [
            self.seen, self.jobs, self.top, self.plot, self.curves, self.log, self.stop,
            self.resume, self.clone, self.about, self.facts,
        ]  # fmt: skip


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    header("Train")
    title(
        "Train",
        "Reinforcement learning gives every KV head one gate and a price. Heads that reasoning "
        'needs stay <b class="full">full</b>, the others drift to <b class="comp">compressed</b>. '
        "A job runs by itself: close this page if you like.",
    )
    if not studio.settings.may_train:
        html(switched_off("Training"))
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            with gr.Column(elem_classes="card"):
                form = job_form(studio)
            with gr.Column(elem_classes="card flush"):
                section("Jobs")
                jobs = job_list_view("jobs")
        with gr.Column(scale=8, min_width=320, elem_classes="card"):
            top = html(elem_id="live")
            with gr.Row(equal_height=False):
                with gr.Column(scale=1, min_width=290):
                    html('<h3 class="cap2 first">The gates now</h3>')
                    plot = head_map(None, "forming")
                with gr.Column(scale=1, min_width=290):
                    curves = chart(None, "curves")
                    log = html(elem_id="log")
            with gr.Row(elem_classes="actions"):
                stop = gr.Button("Stop and keep what it learned", visible=False, elem_id="stop")
                resume = gr.Button("Resume", visible=False, elem_id="resume")
                clone = gr.Button("Clone with changes", visible=False, elem_id="clone")
            about = gr.Accordion("About this job", open=False, visible=False, elem_id="about")
            with about:
                facts = html(elem_id="facts")
                files = training_files()
    parts = Parts(
        form, gr.State(None), gr.State(None), jobs, top, plot, curves, log, stop, resume,
        clone, about, facts, files, gr.State(None),
    )  # fmt: skip
    _wire(studio, app, parts)
    wire_files(studio, files, [parts.wanted, parts.seen])


def _wire(studio: Studio, app: gr.Blocks, p: Parts) -> None:
    def paint(job_id: str | None, seen: Seen | None) -> list[Any]:
        return _paint(studio, job_id, seen)

    def start(origin: str | None, *values: Any) -> list[Any]:
        with told():
            job = _start(studio, make_config(read(TrainConfig, NAMES, values)), origin)
        return [job.id, *paint(job.id, None)]

    def clone(wanted: str | None, seen: Seen | None) -> list[Any]:
        with told():
            job = studio.jobs.get(chosen(wanted, seen))
        values, notes = carried_over(job.params)
        return [job.id, _origin(job, notes), *filled(values)]

    wire_job(studio, app, p, paint, lambda asked: default_job(studio, KIND, asked))
    given = [p.origin, *p.form.values]
    p.form.start.click(start, given, [p.wanted, *p.live()], trigger_mode="once", **PRIVATE).success(
        None, None, None, js=SHOW_JOB,
        api_visibility="private",
    )  # fmt: skip
    p.clone.click(
        clone, [p.wanted, p.seen], [p.origin, p.form.note, *p.form.values], **PRIVATE
    ).success(None, None, None, js=SHOW_FORM, api_visibility="private")
    wire_form(p.form)
    # A preset takes the place of the settings that were cloned: what starts then is no clone.
    p.form.preset.input(lambda: [None, ""], None, [p.origin, p.form.note], **QUIET)


# --- actions ------------------------------------------------------------------------------


def _start(studio: Studio, config: TrainConfig, origin: str | None) -> Job:
    """Creates the job and makes sure that somebody runs it."""
    with starting(
        studio, config.model, config.task, where=config.where, report_to=config.report_to
    ) as jobs:
        refuse_what_cannot_fit(config)
        key = request_key(studio, KIND, config.model_dump())
        job = create(config, jobs, request_key=key, cloned_from=origin)
    ensure_running(studio.db.folder)
    return job


def _origin(job: Job, notes: list[str]) -> str:
    """What stands over the form while it holds a job's settings."""
    rest = "".join(f"<br>{escape(note)}" for note in notes)
    return (
        f'<p class="note">Settings of “{escape(job.title)}”. Change what you like, then press '
        f"Start.{rest}</p>"
    )


# --- what is on screen --------------------------------------------------------------------


def _paint(studio: Studio, job_id: str | None, seen: Seen | None) -> list[Any]:
    """All live parts; nothing but skips where `seen` is still true."""
    jobs = studio.jobs.list(LISTED, KIND)
    listed = job_list(list(jobs), job_id)
    version = studio.metrics.version(job_id) if job_id else 0
    digest = hashlib.sha256(listed.encode()).hexdigest()[:16]
    same_list = seen is not None and seen[2] == digest
    same_job = seen is not None and tuple(seen[:2]) == (job_id, version)
    if same_list and same_job:
        return [gr.skip()] * LIVE
    state = (job_id, version, digest)
    head = [state, gr.skip() if same_list else listed]
    if same_job:
        return [*head, *[gr.skip()] * (LIVE - 2)]
    if job_id is None:
        return [*head, *job_view.nothing(studio)]
    return [*head, *job_view.live(studio, studio.jobs.get(job_id))]
