"""What the command line asks of the stored jobs. Beside the worker the only one to know storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlkv.errors import UserError
from rlkv.gate_history import GateHistory
from rlkv.job_export import ALL, metrics_csv
from storage.database import Database, open_database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from storage.supervisor import ensure_running


def listed(limit: int) -> list[dict[str, Any]]:
    """The newest jobs, each with what fits on a line."""
    with _database() as db:
        return [_line(job) for job in Jobs(db).list(limit)]


def shown(job_id: str) -> dict[str, Any]:
    """All that is kept of one job but its curves."""
    with _database() as db:
        job = Jobs(db).get(job_id)
        return {
            **_line(job),
            "message": job.message,
            "phase": job.phase,
            "attempt": job.attempt,
            "cloned_from": job.cloned_from,
            "settings": job.params,
            "versions": job.versions,
            "latest": Metrics(db).latest(job_id),
            "masks": [mask.id for mask in Masks(db).list(job_id=job_id)],
            "folder": str(Jobs(db).folder(job_id)),
        }


def settings_of(job_id: str) -> dict[str, Any]:
    """A job's settings, as they were."""
    with _database() as db:
        return dict(Jobs(db).get(job_id).params)


def export(job_id: str, out: Path) -> None:
    """Writes metrics (`.csv`) or gate snapshots (`.npz`), by the file's ending.

    Raises:
        UserError: another ending, no numbers yet, or a folder that can't be written to.
    """
    with _database() as db:
        Jobs(db).get(job_id)
        metrics = Metrics(db)
        if out.suffix == ".csv":
            data = metrics_csv(metrics.series(job_id, max_points=ALL)).encode()
        elif out.suffix == ".npz":
            history = _history(metrics, job_id)
            if history is None:
                raise UserError(f"Job {job_id} has no gates yet: wait for its first step.")
            data = history.to_npz()
        else:
            raise UserError(f"{out}: name a file that ends in .csv (metrics) or .npz (gates).")
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UserError(f"{out} can't be written: {error.strerror}.") from error


def _history(metrics: Metrics, job_id: str) -> GateHistory | None:
    shape = metrics.snapshot_shape(job_id)
    if shape is None:
        return None
    rewards = metrics.series(job_id, ["reward"], max_points=ALL).get("reward", [])
    return GateHistory.of(metrics.snapshots(job_id), shape, rewards)


def stop(job_id: str) -> dict[str, Any]:
    """Asks for its end; the supervisor sees to it that it comes."""
    with _database() as db:
        job = Jobs(db).request_stop(job_id)
        ensure_running(db.folder)
        return _line(job)


def resume(job_id: str) -> dict[str, Any]:
    """Puts it back in the queue; it is run in the background."""
    with _database() as db:
        job = Jobs(db).resume(job_id)
        ensure_running(db.folder)
        return _line(job)


def delete(job_id: str) -> None:
    """Forgets an ended job; its masks stay."""
    with _database() as db:
        Jobs(db).delete(job_id)


def _line(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "step": job.step,
        "steps": job.total_steps,
        "title": job.title,
        "seed": job.seed,
        "created_at": job.created_at,
    }


@contextmanager
def _database() -> Iterator[Database]:
    try:
        db = open_database()
        try:
            yield db
        finally:
            db.close()
    except StorageError as error:
        raise UserError(str(error)) from error
