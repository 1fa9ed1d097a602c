"""A click on a job while the clock is looking at another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from rlkv.training.config import make_config
from rlkv.worker import create, create_evaluation
from storage.database import Database
from storage.jobs import Job
from tests.rlkv.evaluation.stage import small
from tests.ui.handlers import built, handler
from ui import job_view, train
from ui.downloads import _written
from ui.evaluation import page as evaluation
from ui.evaluation import view as evaluation_view
from ui.job_page import request_key
from ui.studio import Settings, Studio

KINDS: dict[str, tuple[Any, Callable[[Database, int], Job]]] = {
    "train": (train, lambda db, seed: create(make_config({"seed": seed}), db)),
    "eval": (evaluation, lambda db, seed: create_evaluation(small(seed=seed), db)),
}


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setattr("ui.job_page.ensure_running", lambda folder: None)
    studio = Studio.open(Settings(data_dir=tmp_path))
    yield studio
    studio.db.close()


def test_sixty_jobs_are_all_in_the_list(studio: Studio) -> None:
    jobs = [studio.jobs.create("train", {}, title=f"seed {n}") for n in range(60)]
    app = built(lambda app: train.build(studio, app))
    _, _, listed, *_ = handler(app, "ui.job_page.picked")(SimpleNamespace(_data={"id": jobs[0].id}))
    assert all(job.id in listed for job in jobs)


def test_a_job_that_ended_before_its_first_step_shows_no_gates(studio: Studio) -> None:
    job = create(make_config({}), studio.db)
    assert job_view.live(studio, job)[1]["values"][0][0] == 1.0  # where its training begins
    studio.jobs.request_stop(job.id)
    ended = studio.jobs.get(job.id)
    assert ended.is_terminal
    assert job_view.live(studio, ended)[1] is None


def test_an_evaluation_in_line_says_that_it_waits(studio: Studio) -> None:
    """What it waits for may be a training, which is not in its list."""
    job = create_evaluation(small(seed=1), studio.db)
    assert "Waits until the jobs before it have ended" in evaluation_view._meter(job)
    assert "Beginning" in evaluation_view._meter(replace(job, state="running", total_steps=0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tick_under_way_does_not_take_a_click_back(studio: Studio, kind: str) -> None:
    page, make = KINDS[kind]
    one, other = (make(studio.db, seed) for seed in (1, 2))
    for job in (one, other):
        studio.jobs.request_stop(job.id)
    app = built(lambda app: page.build(studio, app))
    ticked, picked = (handler(app, f"ui.job_page.{name}") for name in ("ticked", "picked"))

    wanted, seen, *_ = picked(SimpleNamespace(_data={"id": one.id}))
    studio.jobs.resume(one.id)
    stale, *_ = ticked(wanted, seen)  # it ends after the click on the other one
    wanted, *_ = picked(SimpleNamespace(_data={"id": other.id}))
    assert (wanted, stale[0]) == (other.id, one.id)

    seen, *_ = ticked(wanted, stale)
    assert seen[0] == other.id
    assert handler(app, f"{page.__name__}.clone")(wanted, stale)[0] == other.id
    presses: list[Any] = [
        one.fn for one in app.fns.values() if getattr(one.fn, "__name__", "") == "press"
    ]
    presses[-1](wanted, stale)  # Resume
    assert studio.jobs.get(other.id).state == "queued"


def test_files_are_those_of_the_job_that_was_chosen() -> None:
    def contents(job_id: str, name: str) -> tuple[str, bytes]:
        return f"{job_id}.txt", b""

    assert Path(_written(contents, "job", "log", "mine", ("other", 1, ""))).name == "mine.txt"
    assert Path(_written(contents, "job", "log", None, ("other", 1, ""))).name == "other.txt"
    with pytest.raises(gr.Error, match="Choose a job first"):
        _written(contents, "job", "log", None, None)


def test_a_page_nobody_chose_a_job_on_stays_with_what_it_shows(studio: Studio) -> None:
    app = built(lambda app: train.build(studio, app))
    ticked = handler(app, "ui.job_page.ticked")
    assert ticked(None, None)[0][0] is None
    job = create(make_config({"seed": 1}), studio.db)
    seen = ticked(None, None)[0]
    assert seen[0] == job.id
    create(make_config({"seed": 2}), studio.db)
    assert ticked(None, seen)[0][0] == job.id


def test_start_makes_another_job_after_one_that_a_moved_clock_gave_an_older_id(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press() -> Job:
        key = request_key(studio, "train", config.model_dump())
        return create(config, studio.db, request_key=key)

    config = make_config({})
    now = time.time_ns()
    made = []
    for hours in (0, -1, -1):
        monkeypatch.setattr(
            "storage.schema.time.time_ns", lambda back=hours: now + back * 3600 * 10**9
        )
        made.append(press())
        assert press() == made[-1]
        studio.jobs.request_stop(made[-1].id)
    assert made[1].id < made[0].id
    assert len({job.id for job in made}) == 3
