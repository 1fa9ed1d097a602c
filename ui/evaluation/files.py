"""An evaluation's files to take away: points, answers, everything as JSON, a page of curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from rlkv.evaluation.export import page, points_csv, record, samples_csv
from storage.jobs import Job
from ui.downloads import JobFiles, job_files
from ui.evaluation.measured import Measured, Table
from ui.evaluation.recorded import KEY, recorded, recorded_answers
from ui.studio import Studio

BUTTONS = {
    "points": "Points as CSV",
    "answers": "Answers as CSV",
    "record": "Everything as JSON",
    "page": "Curves as HTML",
}


def eval_files() -> JobFiles:
    """Adds the row of buttons."""
    return job_files(BUTTONS, "eval-file")


def wire_files(studio: Studio, table: Table, parts: JobFiles, which: list[gr.State]) -> None:
    """`which` are the page's states that say which job it is about."""

    def contents(job_id: str, name: str) -> tuple[str, bytes]:
        job, found = _chosen(studio, table, job_id)
        file_name, text = _CONTENTS[name](studio, job, found)
        return f"{job.id if job else KEY}-{file_name}", text.encode()

    parts.wire(which, contents, "evaluation")


def _chosen(studio: Studio, table: Table, job_id: str) -> tuple[Job | None, Measured]:
    shipped = recorded() if job_id == KEY else None
    if shipped is not None:
        return None, shipped
    job = studio.jobs.get(job_id)
    return job, table.of(studio, job)


def _settings(job: Job | None, found: Measured) -> tuple[dict[str, Any], dict[str, Any]]:
    return (job.params, job.versions) if job else (found.config.model_dump(mode="json"), {})


def _answers(studio: Studio, job: Job | None, found: Measured) -> tuple[str, str]:
    samples = studio.samples.all(job.id) if job else recorded_answers().all(KEY)
    return "answers.csv", samples_csv(samples)


def _record(studio: Studio, job: Job | None, found: Measured) -> tuple[str, str]:
    kept = record(found.results, *_settings(job, found))
    return "evaluation.json", json.dumps(kept, indent=1)


_CONTENTS: dict[str, Callable[[Studio, Job | None, Measured], tuple[str, str]]] = {
    "points": lambda studio, job, found: ("points.csv", points_csv(found.results)),
    "answers": _answers,
    "record": _record,
    "page": lambda studio, job, found: (
        "curves.html",
        page(found.results, *_settings(job, found)),
    ),
}
