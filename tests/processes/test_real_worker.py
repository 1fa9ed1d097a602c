"""The real worker under a real supervisor, killed in the middle of a training."""

import os
import signal
import time

import pytest

from rlkv.training.config import make_config
from rlkv.worker import create, run_job
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.metrics import Metrics
from storage.supervisor import ensure_running
from tests.rlkv.test_training import SMALL

CONFIG = make_config({**SMALL, "steps": 12, "eval_problems": 0})


def wait(db: Database, job_id: str, what: str, seconds: float = 240) -> Job:
    """Waits until the job has done some steps, or has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = Jobs(db).get(job_id)
        if job.is_terminal or (what == "steps" and job.step >= 5):
            return job
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {seconds} s: {Jobs(db).get(job_id)}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_training_is_taken_up_and_ends_with_the_same_gates() -> None:
    db = open_database()
    try:
        unbroken = run_job(db, create(CONFIG, db, claimed_by=os.getpid()))
        job = create(CONFIG, db)
        ensure_running(db.folder)
        job = wait(db, job.id, "steps")
        assert job.state == "running"
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
        ended = wait(db, job.id, "end")
        assert ended.state == "done", ended.message
        metrics = Metrics(db)
        assert metrics.latest_snapshot(job.id) == metrics.latest_snapshot(unbroken.id)
        assert metrics.series(job.id, ["reward"]) == metrics.series(unbroken.id, ["reward"])
        assert any("Resuming after step" in e.text for e in metrics.events(job.id))
    finally:
        db.close()
