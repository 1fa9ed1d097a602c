"""The list of jobs, newest first; a click on one fires `open` with its id."""

from __future__ import annotations

from html import escape

import gradio as gr

from storage.jobs import Job

LISTED = 200
"""How many of the newest jobs a page lists; older ones open by their address."""
_CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-job]');
  if (!button) return;
  rlkvAddress('job', button.dataset.job);
  trigger('open', {id: button.dataset.job});
});
"""


def job_list_view(elem_id: str) -> gr.HTML:
    """A component for the HTML of `job_list`."""
    return gr.HTML("", js_on_load=_CLICKS, apply_default_css=False, elem_id=elem_id)


def job_list(jobs: list[Job], current: str | None, *, unit: str = "step") -> str:
    """HTML of the list; every text is escaped. `unit` is what a job counts."""
    if not jobs:
        return '<p class="note">No job yet. All settings have good defaults: press Start.</p>'
    return (
        f'<div class="jobs">{"".join(_entry(job, job.id == current, unit) for job in jobs)}</div>'
    )


def state_badge(state: str) -> str:
    """A job's state as a small label."""
    return f'<span class="state {escape(state)}">{escape(state)}</span>'


def share(job: Job) -> float:
    """How far a job is, 0 to 1."""
    return min(1.0, job.step / job.total_steps) if job.total_steps else 0.0


def _entry(job: Job, current: bool, unit: str) -> str:
    meter = (
        ""
        if job.is_terminal
        else f'<span class="meter"><i style="width:{share(job):.1%}"></i></span>'
    )
    return (
        f'<button type="button" data-job="{escape(job.id)}" aria-current="{str(current).lower()}">'
        f'<span class="name">{escape(job.title)}</span>{state_badge(job.state)}'
        f'<span class="meta">{unit} {job.step:,} of {job.total_steps:,}</span>{meter}</button>'
    )
