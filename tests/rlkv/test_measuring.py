"""The look at a finished mask is never what a training is lost for."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlkv.errors import UserError
from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, Split
from rlkv.tasks.tracing import Tracing
from rlkv.training import result
from rlkv.training.config import make_config
from rlkv.training.run import train
from rlkv.worker import create, run_job
from rlkv.worker.training import JobObserver
from storage.database import Database, open_database
from storage.jobs import Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from tests.rlkv.short_training import SMALL, Log

CONFIG = make_config({**SMALL, "steps": 1, "device": "cpu"})


@pytest.fixture
def db() -> Iterator[Database]:
    database = open_database()
    yield database
    database.close()


class StoppedInMeasuring(Log):
    """Asks for an end as soon as the mask is looked at."""

    def should_stop(self) -> bool:
        return "measuring" in self.phases


def short_of_memory(patch: pytest.MonkeyPatch, room: int) -> list[int]:
    """Room for so many rows while measuring; the rows that were tried."""
    tried: list[int] = []
    plain = accuracy

    def tight(*args: Any, rows_at_once: int, **options: Any) -> Any:
        tried.append(rows_at_once)
        if rows_at_once > room:
            torch.empty(1 << 60, dtype=torch.uint8)  # what torch raises, for real
        return plain(*args, rows_at_once=rows_at_once, **options)

    patch.setattr(result, "accuracy", tight)
    return tried


def test_a_stop_while_measuring_keeps_the_mask(tmp_path: Path) -> None:
    log = StoppedInMeasuring()
    mask = train(CONFIG, tmp_path, log)
    assert mask.info["steps_done"] == 1
    assert "metrics" not in mask.info
    assert log.phases["measuring"] == (0, 12)  # not one mask was looked at to the end
    assert log.events[-1] == "Stopped while measuring: the mask is kept, without its accuracy"


@pytest.mark.slow
def test_measuring_takes_the_rows_that_were_planned_and_half_where_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = short_of_memory(monkeypatch, room=2)
    log = Log()
    mask = train(CONFIG.model_copy(update={"rollout_rows": 5}), tmp_path, log)
    assert tried == [5, 2, 2, 2]
    assert mask.info["metrics"]["n"] == 4
    assert "Out of memory measuring 5 rows at once: again with half" in log.events


@pytest.mark.slow
def test_without_memory_for_one_answer_the_job_is_done_with_its_mask(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = short_of_memory(monkeypatch, room=0)
    ended = run_job(db, create(CONFIG, db, claimed_by=os.getpid()))
    assert tried == [6, 3, 1]  # as planned: a step of six answers
    assert (ended.state, ended.message) == ("done", "Done")
    (kept,) = Masks(db).list(job_id=ended.id)
    assert "metrics" not in kept.info
    told = [event.text for event in Metrics(db).events(ended.id)]
    assert "Out of memory while measuring: the mask is kept, without its accuracy" in told


def test_a_job_stopped_while_measuring_is_done(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it was to learn it has learned."""
    job = create(CONFIG, db, claimed_by=os.getpid())
    phase = JobObserver.phase

    def pressed(self: JobObserver, name: str, done: int, total: int) -> None:
        if name == "measuring":
            Jobs(db).request_stop(job.id)
        phase(self, name, done, total)

    monkeypatch.setattr(JobObserver, "phase", pressed)
    ended = run_job(db, job)
    assert ended.state == "done"
    (kept,) = Masks(db).list(job_id=job.id)
    assert (kept.info["steps_done"], "metrics" in kept.info) == (1, False)


def test_without_unseen_problems_the_mask_is_kept_without_its_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a file of few problems, of which none falls to the test."""
    plain = Tracing.problems

    def few(self: Tracing, n: int, *, seed: int = 0, split: Split = "train") -> list[Problem]:
        if split == "test":
            raise UserError("The file has no problem for the test.")
        return plain(self, n, seed=seed, split=split)

    monkeypatch.setattr(Tracing, "problems", few)
    log = Log()
    mask = train(CONFIG, tmp_path, log)
    assert (mask.info["steps_done"], "metrics" in mask.info) == (1, False)
    assert log.events[-1] == (
        "The mask is kept, without its accuracy: The file has no problem for the test."
    )


@pytest.mark.slow
def test_a_job_stopped_in_elimination_is_stopped_and_goes_on_there(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"elimination": True, "eval_problems": 0})
    job = create(config, db, claimed_by=os.getpid())
    phase = JobObserver.phase

    def pressed(self: JobObserver, name: str, done: int, total: int) -> None:
        if name == "elimination" and done == 3:
            Jobs(db).request_stop(job.id)
        phase(self, name, done, total)

    with monkeypatch.context() as patch:
        patch.setattr(JobObserver, "phase", pressed)
        ended = run_job(db, job)
    assert (ended.state, ended.message) == ("cancelled", "Stopped in elimination; mask kept")
    Jobs(db).resume(job.id)
    done = run_job(db, Jobs(db).start(job.id))
    assert done.state == "done"
    whole, _ = sorted(Masks(db).list(job_id=job.id), key=lambda mask: "stopped_in" in mask.info)
    unbroken = run_job(db, create(config, db, claimed_by=os.getpid()))
    (same,) = Masks(db).list(job_id=unbroken.id)
    assert whole.scores == same.scores


def test_a_defect_while_measuring_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> HeadMask:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(result, "accuracy", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        train(CONFIG, tmp_path, Log())
