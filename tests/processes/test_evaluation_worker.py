"""The real worker, killed in the middle of an evaluation: no answer is lost, none asked again."""

from __future__ import annotations

import os
import random
import signal

import pytest

from rlkv.worker import create_evaluation, run_job
from storage.database import Database, open_database
from storage.jobs import Jobs
from storage.samples import Samples
from storage.supervisor import ensure_running
from tests.processes import killing
from tests.processes.stage import wait_for
from tests.rlkv.evaluation.stage import small

QUICK = ["--poll=0.1", "--idle=1"]


def spoken(db: Database, job_id: str) -> dict[object, tuple[str, str]]:
    rows = Samples(db).all(job_id)
    return {(row.cell, row.problem, row.draw): (row.text, row.verdict) for row in rows}


def until_attempt(db: Database, job_id: str, attempt: int) -> None:
    wait_for(lambda: Jobs(db).get(job_id).attempt >= attempt, 60)


def killed_and_resumed(seed: int, kills: int) -> None:
    """One evaluation killed at random answers, against the same one left alone."""
    db = open_database()
    config = small(temperature=0.7, samples=2, problems=16, seed=seed)
    try:
        reference = run_job(db, create_evaluation(config, db, claimed_by=os.getpid()))
        job = create_evaluation(config, db)
        ensure_running(db.folder, options=QUICK)
        chance = random.Random(seed)
        kept: dict[object, tuple[str, str]] = {}
        for attempt in range(kills):
            answers = len(kept) + chance.randint(1, 96 // (kills + 1) - 8)
            pid = killing.until_step(db, job.id, answers).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            until_attempt(db, job.id, attempt + 2)
            now = spoken(db, job.id)
            assert kept.items() <= now.items()  # what was there stays as it was
            kept = now
        ended = killing.until_ended(db, job.id)
        assert (ended.state, ended.step, ended.total_steps) == ("done", 96, 96)
        assert spoken(db, job.id) == spoken(db, reference.id)
        assert ended.attempt == kills + 1
        assert db.check() == []
    finally:
        db.close()


@pytest.mark.slow
def test_a_killed_evaluation_loses_and_repeats_nothing() -> None:
    killed_and_resumed(seed=5, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_two_kills(seed: int) -> None:
    killed_and_resumed(seed, kills=2)
