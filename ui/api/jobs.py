"""Endpoints that start, stop and look at jobs."""

from __future__ import annotations

import json
from typing import Any

from rlkv.errors import UserError
from rlkv.evaluation.config import MaskEntry, make_eval_config
from rlkv.evaluation.export import record
from rlkv.training.config import make_config
from rlkv.worker import create, create_evaluation
from storage.jobs import Job
from storage.supervisor import ensure_running
from ui import catalogue
from ui.api.answers import JobLine, JobWhole
from ui.api.masks import entry_of
from ui.components.memory_line import refuse_what_cannot_fit
from ui.evaluation.measured import Table
from ui.starting import starting
from ui.studio import Studio

KINDS = ("", "train", "eval")
MOST = 500


class JobEndpoints:
    """Starting and stopping asks for the same right as on the pages."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._table = Table()

    def start_training(
        self,
        settings: dict[str, Any] | None = None,
        preset: str = "quick",
        request_key: str = "",
    ) -> JobLine:
        """Puts a training of gates into the queue and gives the job.

        Args:
            settings: What differs from the preset, named as the options of `python -m rlkv train`
                with underscores, such as {"model": "tracer", "steps": 20, "seed": 1}.
            preset: quick, thorough or paper.
            request_key: A name for this request; the same again gives the same job, not a second.
        """
        studio = self._studio
        studio.require_training()
        config = make_config(_plain(settings), str(preset))
        with starting(
            studio, config.model, config.task, where=config.where, report_to=config.report_to
        ) as jobs:
            refuse_what_cannot_fit(config)
            job = create(config, jobs, request_key=_key("train", request_key))
        return self._begun(job)

    def start_evaluation(
        self,
        settings: dict[str, Any] | None = None,
        masks: list[str] | None = None,
        request_key: str = "",
    ) -> JobLine:
        """Puts an evaluation of masks into the queue and gives the job.

        Args:
            settings: Named as the options of `python -m rlkv sweep` with underscores, such as
                {"methods": ["learned", "random"], "sparsities": [0.5], "problems": 50}.
            masks: Keys or link texts of the learned masks to measure; without any the shipped one.
            request_key: A name for this request; the same again gives the same job, not a second.
        """
        studio = self._studio
        studio.require_training()
        if not isinstance(masks, list | None):
            raise UserError("masks has to be a list of keys and link texts.")
        wanted = [entry_of(studio, key) for key in (masks or ["shipped"])]
        given = {**_plain(settings), "masks": [MaskEntry.of(e.mask, key=e.key) for e in wanted]}
        config = make_eval_config(given)
        with starting(studio, config.model, config.task) as jobs:
            job = create_evaluation(config, jobs, request_key=_key("eval", request_key))
        return self._begun(job)

    def job(self, job_id: str) -> JobWhole:
        """Tells how it stands with a job: state, progress, newest metrics, masks, results.

        Args:
            job_id: Id of the job.
        """
        studio = self._studio
        found = studio.jobs.get(str(job_id))
        results = None
        if found.kind == "eval":
            measured = self._table.of(studio, found).results
            results = record(measured, _shown(found.params), found.versions)
        return {
            **_line(found),
            "phase": found.phase,
            "phase_done": found.phase_done,
            "phase_total": found.phase_total,
            "settings": _shown(found.params),
            "latest": studio.metrics.latest(found.id),
            "masks": [row.id for row in catalogue.learned_by(studio, found.id)],
            "results": json.loads(json.dumps(results, default=str)),
        }

    def jobs(self, limit: int = 50, kind: str = "") -> list[JobLine]:
        """Lists jobs, the newest first.

        Args:
            limit: At most so many.
            kind: train or eval; empty for both.
        """
        if kind not in KINDS:
            raise UserError("kind has to be train, eval, or empty for both.")
        if not isinstance(limit, int) or not 1 <= limit <= MOST:
            raise UserError(f"limit has to be a whole number from 1 to {MOST}.")
        return [_line(one) for one in self._studio.jobs.list(limit, kind or None)]

    def stop_job(self, job_id: str) -> JobLine:
        """Asks for the end of a job; what it has learned or answered is kept.

        Args:
            job_id: Id of the job.
        """
        studio = self._studio
        studio.require_training()
        studio.jobs.get(str(job_id))
        return self._begun(studio.jobs.request_stop(str(job_id)))

    def _begun(self, job: Job) -> JobLine:
        ensure_running(self._studio.db.folder)
        return _line(job)


def _plain(settings: Any) -> dict[str, Any]:
    if settings is None:
        return {}
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise UserError("settings has to be an object of names and values.")
    if "masks" in settings:
        raise UserError("Name the masks in masks, not in settings.")
    return settings


def _key(kind: str, request_key: Any) -> str | None:
    """Apart from those of the pages, which the app makes up itself."""
    return f"api-{kind}-{str(request_key)[:100]}" if request_key else None


def _shown(params: dict[str, Any]) -> dict[str, Any]:
    """A job's settings without the numbers of whole masks."""
    masks = params.get("masks")
    if not isinstance(masks, list):
        return dict(params)
    few = [{k: v for k, v in one.items() if k not in ("scores", "kept")} for one in masks]
    return {**params, "masks": few}


def _line(job: Job) -> JobLine:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "title": job.title,
        "model": job.model,
        "step": job.step,
        "steps": job.total_steps,
        "message": job.message,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }
