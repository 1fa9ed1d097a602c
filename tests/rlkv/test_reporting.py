"""Trackers: a stand-in that records its calls, and the real trackio where it is installed."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlkv.errors import UserError
from rlkv.reporting import Report
from rlkv.training.config import make_config
from rlkv.training.run import train
from rlkv.worker import create, run_job
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.metrics import Metrics
from tests.rlkv.short_training import SMALL, Log

STAND_IN = """
import json, os
def tell(*what):
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps(what) + "\\n")
class Run:
    def log(self, metrics, step):
        tell("log", step, metrics)
        if os.environ.get("TROUBLE"):
            raise ConnectionError("no answer")
    def finish(self):
        tell("finish")
def init(**options):
    tell("init", options)
    return Run()
"""
CONFIG: dict[str, Any] = {**SMALL, "steps": 4, "eval_problems": 0, "max_new_tokens": 72}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes both trackers importable as the stand-in; returns the file it writes to."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name in ("trackio", "wandb"):
        (folder / f"{name}.py").write_text(STAND_IN)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    yield tmp_path / "calls"
    for name in ("trackio", "wandb"):  # later tests are to find the real ones, if any
        sys.modules.pop(name, None)


def read(calls: Path) -> list[list[Any]]:
    return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def made(db: Database, **values: Any) -> Job:
    return create(make_config({**CONFIG, **values}), db, claimed_by=os.getpid())


@pytest.mark.slow
def test_every_step_is_reported_under_the_jobs_name(calls: Path) -> None:
    db = open_database()
    job = run_job(db, made(db, report_to="trackio"))
    assert job.state == "done", job.message
    (init, options), *logged, last = read(calls)
    assert init == "init"
    assert options["name"] == f"{job.title} · {job.id}"
    assert options["config"]["report_to"] == "trackio"
    assert options["resume"] == "allow"
    assert [step for _, step, _ in logged] == [1, 2, 3, 4]
    stored = Metrics(db).series(job.id, ["reward"])["reward"]
    assert [(step, metrics["reward"]) for _, step, metrics in logged] == stored
    assert last == ["finish"]
    db.close()


def test_wandb_is_told_the_jobs_id(calls: Path) -> None:
    report = Report("abc", "title", {"report_to": "wandb"}, sent=0)
    assert report.log(1, {"reward": 1.0}) == ""
    report.close()
    assert read(calls)[0][1]["id"] == "abc"
    assert [call[0] for call in read(calls)] == ["init", "log", "finish"]


@pytest.mark.slow
def test_a_resumed_job_sends_no_step_twice(calls: Path) -> None:
    db = open_database()
    job = made(db, report_to="trackio")
    folder = Jobs(db).folder(job.id)
    train(make_config(CONFIG), folder, Log(stop_after=2))
    for step in (1, 2, 3):  # the killed attempt had told of one step beyond its checkpoint
        Metrics(db).log(job.id, step, {"reward": 0.0})
    assert run_job(db, job).state == "done"
    assert [call[1] for call in read(calls) if call[0] == "log"] == [4]
    db.close()


@pytest.mark.slow
def test_a_tracker_in_trouble_is_told_once_and_ends_nothing(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROUBLE", "1")
    db = open_database()
    job = run_job(db, made(db, report_to="wandb"))
    assert job.state == "done"
    told = [e.text for e in Metrics(db).events(job.id) if e.level == "warning"]
    assert told == ["Nothing more is reported to wandb: ConnectionError: no answer"]
    assert len([call for call in read(calls) if call[0] == "log"]) == 1
    db.close()


def test_nothing_is_imported_unless_chosen(calls: Path) -> None:
    report = Report("abc", "title", {}, sent=0)
    assert report.log(1, {"reward": 1.0}) == ""
    report.close()
    assert not {"trackio", "wandb"} & set(sys.modules)
    assert read(calls) == []


def test_a_tracker_that_is_not_installed_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    db = open_database()
    with pytest.raises(UserError, match="trackio is not installed: run `pip install trackio`"):
        made(db, report_to="trackio")
    assert not Jobs(db).list()
    db.close()


REAL = """
from rlkv.reporting import Report
for sent, steps in ((0, (1, 2)), (2, (2, 3))):
    report = Report("abc", "title", {"report_to": "trackio"}, sent=sent)
    for step in steps:
        assert report.log(step, {"reward": step / 2}) == ""
    report.close()
"""


@pytest.mark.slow
def test_the_real_trackio_keeps_each_step_once(tmp_path: Path) -> None:
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", REAL], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.db")
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step")
        found = [(name, step, json.loads(text)["reward"]) for name, step, text in rows]
    connection.close()
    assert found == [("title · abc", 1, 0.5), ("title · abc", 2, 1.0), ("title · abc", 3, 1.5)]
