"""A job's files to take away: settings, log, metrics and gates.

Each is written when its button is pressed, into a new folder of Gradio's; the job's own folder
is never served.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import gradio as gr

from rlkv.errors import UserError
from rlkv.job_export import ALL, metrics_csv
from storage.jobs import Job
from ui import catalogue
from ui.downloads import JobFiles, job_files
from ui.studio import Studio

BUTTONS = {
    "metrics": "Metrics as CSV",
    "gates": "Gates as .npz",
    "settings": "Settings as JSON",
    "log": "Log",
}


def training_files() -> JobFiles:
    """Adds the row of buttons."""
    return job_files(BUTTONS, "job-file")


def wire_files(studio: Studio, parts: JobFiles, which: list[gr.State]) -> None:
    """`which` are the page's states that say which job it is about."""

    def contents(job_id: str, name: str) -> tuple[str, bytes]:
        return _CONTENTS[name](studio, studio.jobs.get(job_id))

    parts.wire(which, contents, "job")


def _metrics(studio: Studio, job: Job) -> tuple[str, bytes]:
    series = studio.metrics.series(job.id, max_points=ALL)
    return f"{job.id}-metrics.csv", metrics_csv(series).encode()


def _gates(studio: Studio, job: Job) -> tuple[str, bytes]:
    history = catalogue.job_history(studio, job.id)
    if history is None:
        raise UserError("This job has no gates yet: wait for its first step.")
    return f"{job.id}-gates.npz", history.to_npz()


def _settings(studio: Studio, job: Job) -> tuple[str, bytes]:
    kept = {
        "job": job.id,
        "title": job.title,
        "seed": job.seed,
        "settings": job.params,
        "versions": job.versions,
        "cloned_from": job.cloned_from,
    }
    return f"{job.id}-settings.json", json.dumps(kept, indent=2).encode()


def _log(studio: Studio, job: Job) -> tuple[str, bytes]:
    path = studio.jobs.folder(job.id) / "log.txt"
    if not path.is_file():  # the command line runs a job in its own terminal
        lines = [f"{event.level}: {event.text}" for event in studio.metrics.events(job.id)]
        return f"{job.id}-log.txt", "\n".join(lines).encode()
    return f"{job.id}-log.txt", path.read_bytes()


_CONTENTS: dict[str, Callable[[Studio, Job], tuple[str, bytes]]] = {
    "metrics": _metrics,
    "gates": _gates,
    "settings": _settings,
    "log": _log,
}
