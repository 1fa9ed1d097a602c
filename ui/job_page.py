"""What the pages of jobs share: which job is shown, the clock, Start once, Stop and Resume.

Everything shown comes from the database, so such a page can be left, reloaded, opened twice, or
served by another process: the job goes on by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Protocol

import gradio as gr

from storage.errors import StorageError
from storage.jobs import Job
from storage.supervisor import ensure_running
from ui.events import PRIVATE, QUIET
from ui.messages import refusal, told
from ui.studio import Studio

Seen = tuple[str | None, int, str]
"""Which job, which version of it, and which list the page shows."""
Paint = Callable[[str | None, Seen | None], list[Any]]
"""All live parts for a job; nothing but skips where what was seen is still true."""
SHOW_JOB = """() => {
  const job = document.querySelector('#live [data-job]');
  if (job) rlkvAddress('job', job.dataset.job);
  document.querySelector('#live').scrollIntoView({block: 'nearest'});
}"""
SHOW_FORM = "() => document.querySelector('#origin').scrollIntoView({block: 'center'})"


class Parts(Protocol):
    """The components that such a page has."""

    @property
    def wanted(self) -> gr.State:
        """Id of the job that a person chose, or None. No tick of the clock writes it: one that was
        under way during a click would take the click back."""
        ...

    @property
    def seen(self) -> gr.State: ...
    @property
    def jobs(self) -> gr.HTML: ...
    @property
    def stop(self) -> gr.Button: ...
    @property
    def resume(self) -> gr.Button: ...

    def live(self) -> list[Any]:
        """What is repainted."""
        ...


def wire_job(
    studio: Studio,
    app: gr.Blocks,
    p: Parts,
    paint: Paint,
    default: Callable[[str | None], str | None],
) -> None:
    """Opening, the clock, the list of jobs, Stop and Resume.

    Args:
        default: the job to show when this one was asked for, or none.
    """

    def opened(request: gr.Request) -> list[Any]:
        job_id = default(request.query_params.get("job"))
        return [job_id, *paint(job_id, None)]

    def ticked(wanted: str | None, seen: Seen | None) -> list[Any]:
        return paint(shown(wanted, seen) or default(None), seen)

    def picked(event: gr.EventData) -> list[Any]:
        data = getattr(event, "_data", None)
        job_id = data.get("id") if isinstance(data, dict) else None
        if not isinstance(job_id, str):
            return [gr.skip()] * (1 + len(p.live()))
        job_id = default(job_id)
        return [job_id, *paint(job_id, None)]

    def acted(act: Callable[[str], Job]) -> Callable[[str | None, Seen | None], list[Any]]:
        def press(wanted: str | None, seen: Seen | None) -> list[Any]:
            with told():
                studio.require_training()
                act(chosen(wanted, seen))
                ensure_running(studio.db.folder)
            return paint(chosen(wanted, seen), None)

        return press

    # The clock starts when the page shows the job that was asked for: a tick under way before that
    # would come back with another one.
    clock = gr.Timer(1.0, active=False)
    which, everything = [p.wanted, p.seen], [p.wanted, *p.live()]
    opening = app.load(opened, None, everything, **QUIET)
    opening.then(lambda: gr.Timer(active=True), None, clock, **QUIET)
    clock.tick(ticked, which, p.live(), **QUIET)
    p.jobs.open(picked, None, everything, **QUIET)
    # Asked for at the time of the event: the jobs are those of whoever presses.
    p.stop.click(acted(lambda job: studio.jobs.request_stop(job)), which, p.live(), **PRIVATE)
    p.resume.click(acted(lambda job: studio.jobs.resume(job)), which, p.live(), **PRIVATE)


def shown(wanted: str | None, seen: Seen | None) -> str | None:
    """The job that the page is about: what a person chose, else what it shows."""
    return wanted or (seen[0] if seen else None)


def chosen(wanted: str | None, seen: Seen | None) -> str:
    """As `shown`; a refusal where there is none."""
    job_id = shown(wanted, seen)
    if not job_id:
        raise refusal("Choose a job first.")
    return job_id


def default_job(studio: Studio, kind: str, asked: str | None) -> str | None:
    """The job asked for, else the newest active one, else the newest."""
    if asked:
        try:
            job = studio.jobs.get(asked)
            if job.kind == kind:
                return job.id
        except StorageError:
            pass
    active = [job for job in studio.jobs.active() if job.kind == kind]
    if active:
        return max(active, key=lambda job: job.created_at).id
    newest = studio.jobs.list(1, kind)
    return newest[0].id if newest else None


def request_key(studio: Studio, kind: str, params: dict[str, Any]) -> str:
    """The same for every press of Start with these settings until such a job has ended.

    So a double click, or two tabs, start one job: the database keeps the key unique.
    """
    jobs = studio.jobs.list(500, kind)
    ended = [job.id for job in jobs if job.is_terminal and job.params == params]
    # All of them, not the newest: a clock that was set back gives a job an older id.
    text = json.dumps([kind, params, sorted(ended)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
