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
        return paint(default(request.query_params.get("job")), None)

    def ticked(seen: Seen | None) -> list[Any]:
        return paint(seen[0] if seen else default(None), seen)

    def picked(event: gr.EventData) -> list[Any]:
        data = getattr(event, "_data", None)
        job_id = data.get("id") if isinstance(data, dict) else None
        if not isinstance(job_id, str):
            return [gr.skip()] * len(p.live())
        return paint(default(job_id), None)

    def acted(act: Callable[[str], Job]) -> Callable[[Seen | None], list[Any]]:
        def press(seen: Seen | None) -> list[Any]:
            with told():
                studio.require_training()
                act(chosen(seen))
                ensure_running(studio.db.folder)
            return paint(chosen(seen), None)

        return press

    # The clock starts when the page shows the job that was asked for: a tick under way before that
    # would come back with another one.
    clock = gr.Timer(1.0, active=False)
    opening = app.load(opened, None, p.live(), **QUIET)
    opening.then(lambda: gr.Timer(active=True), None, clock, **QUIET)
    clock.tick(ticked, p.seen, p.live(), **QUIET)
    p.jobs.open(picked, None, p.live(), **QUIET)
    # Asked for at the time of the event: the jobs are those of whoever presses.
    p.stop.click(acted(lambda job: studio.jobs.request_stop(job)), p.seen, p.live(), **PRIVATE)
    p.resume.click(acted(lambda job: studio.jobs.resume(job)), p.seen, p.live(), **PRIVATE)


def chosen(seen: Seen | None) -> str:
    """The job that is shown; a refusal where there is none."""
    if not seen or not seen[0]:
        raise refusal("Choose a job first.")
    return seen[0]


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
    text = json.dumps([kind, params, max(ended, default="")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
