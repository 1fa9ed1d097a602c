"""The train page: start a job, watch its heatmap form, stop and resume it.

Everything shown comes from the database, so the page can be left, reloaded, opened twice, or
served by another process: the job goes on by itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from rlkv.training.cloning import carried_over
from rlkv.training.config import TrainConfig, make_config
from rlkv.worker import create
from storage.errors import StorageError
from storage.jobs import Job
from storage.supervisor import ensure_running
from ui import job_view
from ui.components.charts import chart
from ui.components.config_form import read
from ui.components.header import header, html, section, title
from ui.components.headmap import head_map
from ui.components.job_list import job_list, job_list_view
from ui.components.memory_line import refuse_what_cannot_fit
from ui.events import PRIVATE, QUIET
from ui.job_files import JobFiles, job_files, wire_files
from ui.job_form import NAMES, JobForm, filled, job_form, wire_form
from ui.messages import refusal, told
from ui.studio import Studio

SHOW_JOB = """() => {
  const job = document.querySelector('#live [data-job]');
  if (job) rlkvAddress('job', job.dataset.job);
  document.querySelector('#live').scrollIntoView({block: 'nearest'});
}"""
SHOW_FORM = "() => document.querySelector('#origin').scrollIntoView({block: 'center'})"
LIVE = 11
"""How many parts the clock repaints."""
Seen = tuple[str | None, int, str]
"""Which job, which version of it, and which list the page shows."""


@dataclass(frozen=True)
class Parts:
    """The page's components that events write to."""

    form: JobForm
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
        html('<p class="warn">Training is switched off on this public copy.</p>')
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            with gr.Column(elem_classes="card"):
                form = job_form(studio.settings.may_train)
            with gr.Column(elem_classes="card flush"):
                section("Jobs")
                jobs = job_list_view("jobs")
        with gr.Column(scale=8, min_width=320, elem_classes="card"):
            top = html(elem_id="live")
            with gr.Row(equal_height=False):
                with gr.Column(scale=1, min_width=290):
                    html('<h3 class="cap2">The gates now</h3>')
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
                files = job_files()
    parts = Parts(
        form, gr.State(None), jobs, top, plot, curves, log, stop, resume,
        clone, about, facts, files, gr.State(None),
    )  # fmt: skip
    _wire(studio, app, parts)
    wire_files(studio, files, parts.seen)


def _wire(studio: Studio, app: gr.Blocks, p: Parts) -> None:
    def opened(request: gr.Request) -> list[Any]:
        return _paint(studio, _default_job(studio, request.query_params.get("job")), None)

    def ticked(seen: Seen | None) -> list[Any]:
        job_id = seen[0] if seen else _default_job(studio, None)
        return _paint(studio, job_id, seen)

    def picked(event: gr.EventData) -> list[Any]:
        data = getattr(event, "_data", None)
        job_id = data.get("id") if isinstance(data, dict) else None
        if not isinstance(job_id, str):
            return [gr.skip()] * len(p.live())
        return _paint(studio, _default_job(studio, job_id), None)

    def start(origin: str | None, *values: Any) -> list[Any]:
        with told():
            studio.require_training()
            job = _start(studio, make_config(read(TrainConfig, NAMES, values)), origin)
        return _paint(studio, job.id, None)

    def stop(seen: Seen | None) -> list[Any]:
        with told():
            studio.require_training()
            studio.jobs.request_stop(_chosen(seen))
            ensure_running(studio.db.folder)
        return _paint(studio, _chosen(seen), None)

    def resume(seen: Seen | None) -> list[Any]:
        with told():
            studio.require_training()
            studio.jobs.resume(_chosen(seen))
            ensure_running(studio.db.folder)
        return _paint(studio, _chosen(seen), None)

    def clone(seen: Seen | None) -> list[Any]:
        with told():
            job = studio.jobs.get(_chosen(seen))
        values, notes = carried_over(job.params)
        return [job.id, _origin(job, notes), *filled(values)]

    app.load(opened, None, p.live(), **QUIET)
    gr.Timer(1.0).tick(ticked, p.seen, p.live(), **QUIET)
    p.jobs.open(picked, None, p.live(), **QUIET)
    given = [p.origin, *p.form.values]
    p.form.start.click(start, given, p.live(), trigger_mode="once", **PRIVATE).success(
        None, None, None, js=SHOW_JOB,
        api_visibility="private",
    )  # fmt: skip
    p.stop.click(stop, p.seen, p.live(), **PRIVATE)
    p.resume.click(resume, p.seen, p.live(), **PRIVATE)
    p.clone.click(clone, p.seen, [p.origin, p.form.note, *p.form.values], **PRIVATE).success(
        None, None, None, js=SHOW_FORM, api_visibility="private"
    )
    wire_form(p.form)


# --- actions ------------------------------------------------------------------------------


def _start(studio: Studio, config: TrainConfig, origin: str | None) -> Job:
    """Creates the job and makes sure that somebody runs it."""
    refuse_what_cannot_fit(config)
    key = _request_key(studio, config.model_dump())
    job = create(config, studio.db, request_key=key, cloned_from=origin)
    ensure_running(studio.db.folder)
    return job


def _origin(job: Job, notes: list[str]) -> str:
    """What stands over the form while it holds a job's settings."""
    rest = "".join(f"<br>{escape(note)}" for note in notes)
    return (
        f'<p class="note">Settings of “{escape(job.title)}”. Change what you like, then press '
        f"Start.{rest}</p>"
    )


def _request_key(studio: Studio, params: dict[str, Any]) -> str:
    """The same for every press of Start with these settings until such a job has ended.

    So a double click, or two tabs, start one job: the database keeps the key unique.
    """
    ended = [job.id for job in studio.jobs.list(500) if job.is_terminal and job.params == params]
    text = json.dumps([params, max(ended, default="")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _chosen(seen: Seen | None) -> str:
    if not seen or not seen[0]:
        raise refusal("Choose a job first.")
    return seen[0]


def _default_job(studio: Studio, asked: str | None) -> str | None:
    """The job asked for, else the newest active one, else the newest."""
    if asked:
        try:
            return studio.jobs.get(asked).id
        except StorageError:
            pass
    active = studio.jobs.active()
    if active:
        return max(active, key=lambda job: job.created_at).id
    newest = studio.jobs.list(1)
    return newest[0].id if newest else None


# --- what is on screen --------------------------------------------------------------------


def _paint(studio: Studio, job_id: str | None, seen: Seen | None) -> list[Any]:
    """All live parts; nothing but skips where `seen` is still true."""
    jobs = studio.jobs.list(30)
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
        return [*head, *job_view.nothing()]
    return [*head, *job_view.live(studio, studio.jobs.get(job_id))]
