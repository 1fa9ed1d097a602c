"""The real trainer under a real supervisor, small enough to be killed twenty times in a test."""

import os
import random
import signal
import time
from typing import Any

import psutil

from rlkv.training.config import TrainConfig, make_config
from rlkv.worker import create, run_job
from storage.database import Database
from storage.jobs import Job, Jobs
from storage.metrics import Metrics
from tests.processes.stage import wait_for

SMALL: dict[str, Any] = {
    "steps": 12,
    "prompts_per_step": 2,
    "samples_per_prompt": 2,
    "problems": 16,
    "eval_problems": 0,
    "save_every": 2,
    "max_new_tokens": 72,
    "learning_rate": 0.02,
    "elimination": False,
    "hardening": "none",  # sharpened gates soon stand still, and a lost step would not show
}


def settings(**values: Any) -> TrainConfig:
    return make_config({**SMALL, **values})


def unbroken(db: Database, config: TrainConfig) -> Job:
    """The same training in this process, which nobody kills."""
    job = run_job(db, create(config, db, claimed_by=os.getpid()))
    assert job.state == "done", job.message
    return job


def until_step(db: Database, job_id: str, step: int, seconds: float = 120) -> Job:
    """Waits until a worker is that far; fails if the job ends before."""

    def reached() -> bool:
        job = Jobs(db).get(job_id)
        assert not job.is_terminal, job
        return job.state == "running" and job.pid is not None and job.step >= step

    wait_for(reached, seconds)
    return Jobs(db).get(job_id)


def until_ended(db: Database, job_id: str, seconds: float = 240) -> Job:
    wait_for(lambda: Jobs(db).get(job_id).is_terminal, seconds)
    return Jobs(db).get(job_id)


def kill_at_random(db: Database, job_id: str, chance: random.Random, steps: range) -> float:
    """kill -9 somewhere in one of these steps; returns the time of day."""
    job = until_step(db, job_id, chance.choice(steps))
    time.sleep(chance.uniform(0, 0.7))  # about one step: also into a write of a checkpoint
    job = Jobs(db).get(job_id)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    return time.time()


def kill_in(db: Database, job_id: str, phase: str, done: int) -> None:
    """kill -9 as soon as a worker has done so much of a phase, and no later than its end."""

    def there() -> bool:
        job = Jobs(db).get(job_id)
        assert not job.is_terminal, job
        return job.state == "running" and job.phase == phase and job.phase_done >= done

    wait_for(there, 120)
    job = Jobs(db).get(job_id)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    assert Jobs(db).get(job_id).phase == phase
    wait_for(lambda: Jobs(db).get(job_id).pid != job.pid)


def processes_of(job_id: str) -> list[psutil.Process]:
    """All living processes of one job, by their command lines."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if job_id in (process.info["cmdline"] or []) and process.info["status"] != "zombie"
    ]


def require_same(db: Database, job: Job, reference: Job) -> None:
    """Bit-equal gates, the same curve without a step twice, nobody left, nothing broken."""
    assert job.state == "done", job.message
    metrics = Metrics(db)
    expected = metrics.snapshots(reference.id)
    assert len({gates for _, gates in expected}) == reference.total_steps  # every step moves
    assert metrics.snapshots(job.id) == expected
    names = ["reward", "loss", "gate_mean"]
    curves = metrics.series(job.id, names)
    assert curves == metrics.series(reference.id, names)
    assert [step for step, _ in curves["reward"]] == list(range(1, job.total_steps + 1))
    wait_for(lambda: not processes_of(job.id), 20)
    assert db.check() == []
