"""The evaluation page: start a measurement, watch its curves form, read any answer.

Everything shown comes from the database, so the page can be left, reloaded, opened twice, or
served by another process: the job goes on by itself.
"""

from __future__ import annotations

import hashlib
from typing import Any

import gradio as gr

from rlkv.evaluation.config import EvalConfig
from rlkv.worker import create_evaluation
from storage.jobs import Job
from storage.supervisor import ensure_running
from ui.components.eval_curves import accuracy_curves, length_curves
from ui.components.job_list import LISTED, job_list
from ui.evaluation import recorded, view
from ui.evaluation.files import wire_files
from ui.evaluation.form import config_of, filled, wire_form
from ui.evaluation.layout import Page, lay_out
from ui.evaluation.measured import Table
from ui.evaluation.reading import wire_reading
from ui.events import PRIVATE
from ui.job_page import SHOW_FORM, SHOW_JOB, Seen, chosen, default_job, request_key, wire_job
from ui.messages import told
from ui.starting import starting
from ui.studio import Studio

KIND = "eval"


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    page = lay_out(studio)
    table = Table()
    _wire(studio, app, page, table)
    wire_form(studio, app, page.form)
    wire_reading(studio, page)
    wire_files(studio, table, page.files, [page.wanted, page.seen])


def _wire(studio: Studio, app: gr.Blocks, p: Page, table: Table) -> None:
    def paint(job_id: str | None, seen: Seen | None) -> list[Any]:
        return _paint(studio, table, p, job_id, seen)

    def start(origin: str | None, *given: Any) -> list[Any]:
        with told():
            job = _start(studio, config_of(studio, given), origin)
        return [job.id, *paint(job.id, None)]

    def clone(wanted: str | None, seen: Seen | None) -> list[Any]:
        with told():
            job_id = chosen(wanted, seen)
            values = filled(_settings(studio, job_id), studio)
        origin = None if job_id == recorded.KEY else job_id
        return [origin, "Settings of the chosen evaluation: change what you like.", *values]

    wire_job(studio, app, p, paint, lambda asked: _default(studio, asked))
    given = [p.origin, *p.form.given()]
    p.form.start.click(start, given, [p.wanted, *p.live()], trigger_mode="once", **PRIVATE).success(
        None, None, None, js=SHOW_JOB, api_visibility="private"
    )
    p.clone.click(
        clone, [p.wanted, p.seen], [p.origin, p.form.note, *p.form.given()], **PRIVATE
    ).success(None, None, None, js=SHOW_FORM, api_visibility="private")


# --- actions ------------------------------------------------------------------------------


def _start(studio: Studio, config: EvalConfig, origin: str | None) -> Job:
    """Creates the job and makes sure that somebody runs it."""
    with starting(studio, config.model, config.task) as jobs:
        key = request_key(studio, KIND, config.model_dump(mode="json"))
        job = create_evaluation(config, jobs, request_key=key, cloned_from=origin)
    ensure_running(studio.db.folder)
    return job


def _settings(studio: Studio, job_id: str) -> dict[str, Any]:
    shipped = recorded.recorded() if job_id == recorded.KEY else None
    return shipped.config.model_dump() if shipped else studio.jobs.get(job_id).params


def _default(studio: Studio, asked: str | None) -> str | None:
    """As on any page of jobs; the recorded evaluation if asked for, or before there are others."""
    shipped = recorded.KEY if recorded.recorded() else None
    if asked == recorded.KEY and shipped:
        return shipped
    return default_job(studio, KIND, asked) or shipped


# --- what is on screen --------------------------------------------------------------------


def _listed(studio: Studio, job_id: str | None) -> str:
    """The evaluations of this place and the one that comes along: where there is that one, the
    list is never empty and says nothing of being so."""
    jobs = list(studio.jobs.list(LISTED, KIND))
    along = recorded.entry(job_id == recorded.KEY)
    own = job_list(jobs, job_id, unit="answer") if jobs or not along else ""
    return own + along


def _paint(
    studio: Studio, table: Table, p: Page, job_id: str | None, seen: Seen | None
) -> list[Any]:
    """All live parts; nothing but skips where `seen` is still true."""
    listed = _listed(studio, job_id)
    digest = hashlib.sha256(listed.encode()).hexdigest()[:16]
    skips = [gr.skip()] * len(p.live())
    if job_id is None:
        if seen is not None and seen == (None, 0, digest):
            return skips
        hidden = gr.update(visible=False)
        return [
            (None, 0, digest), listed, view.EMPTY, None, None, None, "", "", hidden, hidden,
            hidden, hidden,
        ]  # fmt: skip
    shipped = recorded.recorded() if job_id == recorded.KEY else None
    job = None if shipped else studio.jobs.get(job_id)
    measured = shipped or table.of(studio, studio.jobs.get(job_id))
    state = (job_id, measured.version, digest)
    if seen is not None and tuple(seen) == state:
        return skips
    found = measured.results
    return [
        state,
        listed,
        view.top(job, measured) if job else recorded.top(measured),
        accuracy_curves(found, mark=measured.best),
        accuracy_curves(found, top=True),
        length_curves(found),
        view.table(measured),
        view.errors(found),
        gr.update(visible=job is not None and not job.is_terminal and not job.stop_requested),
        gr.update(visible=job is not None and job.state in ("cancelled", "failed")),
        gr.update(visible=True),
        gr.update(visible=found.samples > 0),
    ]
