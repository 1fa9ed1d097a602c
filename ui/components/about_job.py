"""What is kept about a job: settings, seed, versions, attempts. Escapes what it shows."""

from __future__ import annotations

from html import escape
from typing import Any

from rlkv.training.config import TrainConfig
from storage.jobs import Job
from ui.units import duration

_NAMES = {"rlkv": "RLKV Studio", "python": "Python", "torch": "PyTorch", "trl": "TRL"}


def about_job(job: Job) -> str:
    """Two tables: what it was told, and what it runs on."""
    settings = [(_title(name), _text(value)) for name, value in job.params.items()]
    machine = [(_NAMES.get(name, name.capitalize()), str(v)) for name, v in job.versions.items()]
    facts = [("Job", job.id), ("Attempts", str(job.attempt)), *_times(job), *machine]
    if job.cloned_from:
        facts.insert(1, ("Cloned from", job.cloned_from))
    if not machine:
        facts.append(("Versions", "written when it begins to run"))
    return (
        f'<div class="about"><div><h4>Settings</h4>{_table(settings)}</div>'
        f"<div><h4>Ran on</h4>{_table(facts)}</div></div>"
    )


def _times(job: Job) -> list[tuple[str, str]]:
    if job.ended_at is None or job.started_at is None:
        return []
    return [("Last attempt took", duration(job.ended_at - job.started_at))]


def _title(name: str) -> str:
    field = TrainConfig.model_fields.get(name)
    return field.title if field and field.title else name


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in rows)
    return f"<table>{cells}</table>"
