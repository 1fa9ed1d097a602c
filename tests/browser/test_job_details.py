"""The train page about one job: phases, both rewards, what is kept, downloads, clone."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from rlkv.training.config import make_config
from rlkv.worker import create, run_job
from storage.database import Database
from storage.jobs import Job, Jobs
from storage.metrics import Metrics
from tests.holding import holding
from tests.rlkv.short_training import SMALL

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def held(db: Database) -> Iterator[Job]:
    """A job that this process holds, so that it stands still where a test puts it."""
    with holding(db, create(make_config({"seed": 31}), db, claimed_by=os.getpid())) as job:
        yield job


def test_the_phases_follow_the_job(page: Page, db: Database, held: Job) -> None:
    Jobs(db).heartbeat(held.id, phase="sampling", phase_done=128, phase_total=512)
    page.goto(f"/train?job={held.id}")
    now = page.locator("#live .phases [aria-current=step]")
    expect(now).to_have_attribute("data-phase", "sampling")
    expect(page.locator("[data-figure=phase]")).to_have_text("Sampling: 128 of 512 problems")
    share = now.locator(".meter i").evaluate("e => e.clientWidth / e.parentNode.clientWidth")
    assert abs(share - 0.25) < 0.1

    Jobs(db).heartbeat(held.id, phase="elimination", phase_done=3, phase_total=9)
    expect(now).to_have_attribute("data-phase", "elimination")
    expect(page.locator("[data-figure=phase]")).to_have_text("Elimination: 3 of 9")
    expect(page.locator("#live .phases .past")).to_have_count(2)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.slow
def test_the_reward_as_deployed_is_drawn_where_there_is_one(
    page: Page, db: Database, held: Job
) -> None:
    metrics = Metrics(db)
    for step in range(1, 13):
        metrics.log(held.id, step, {"reward": 0.9, "gate_mean": 0.5, "sparsity": 0.5})
    page.goto(f"/train?job={held.id}")
    hard = page.locator("#live [data-figure=reward-hard]")
    expect(hard).to_have_text("\u2013 deployed")
    lines = page.locator("#curves path.line")
    expect(lines).to_have_count(4)
    for step in (5, 10):
        metrics.log(held.id, step, {"reward_hard": 0.25 if step == 5 else float("nan")})
    expect(lines).to_have_count(5)
    expect(page.locator("#curves .r-reward.dot")).to_have_count(1)  # what is no number is no point
    expect(page.locator("#curves .r-reward.dot")).to_have_attribute("data-title", "5: 0.25")
    expect(page.locator("#curves")).to_contain_text("Reward as deployed")


@pytest.mark.slow
def test_the_gap_between_drawing_and_loss_is_seen_while_it_trains(
    page: Page, db: Database, held: Job
) -> None:
    page.goto(f"/train?job={held.id}")
    gap = page.locator("#live [data-figure=log-prob-gap]")
    expect(gap).to_have_text("\u2013")
    for step, value in ((1, 3.4e-05), (2, 2.13e-05)):
        Metrics(db).log(held.id, step, {"reward": 0.9, "logprob_gap": value})
    expect(gap).to_have_text("2.1e-05")
    tile = gap.locator("..")
    expect(tile).to_have_attribute("title", re.compile("log-probabilities that drawing and loss"))


@pytest.mark.slow
def test_a_job_can_be_taken_away_and_cloned(page: Page, db: Database) -> None:
    config = make_config({**SMALL, "steps": 2, "eval_problems": 0, "seed": 32, "save_every": 7})
    job = run_job(db, create(config, db, claimed_by=os.getpid()))
    page.goto(f"/train?job={job.id}")
    page.get_by_role("button", name="About this job").click()
    facts = page.locator("#facts")
    expect(facts).to_contain_text("PyTorch")
    expect(facts).to_contain_text(job.versions["torch"])
    expect(facts).to_contain_text("Threads")
    expect(page.get_by_role("button", name="Download")).to_have_count(0)  # which file would it be?

    rows = list(csv.DictReader(taken(page, "metrics").decode().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert float(rows[1]["reward"]) == Metrics(db).series(job.id)["reward"][1][1]
    settings = json.loads(taken(page, "settings"))
    assert settings["settings"] == job.params
    assert b" are solved, " in taken(page, "log")
    assert taken(page, "gates")[:2] == b"PK"

    page.get_by_role("button", name="Clone with changes").click()
    expect(page.locator("#origin")).to_contain_text(job.title)
    expect(page.locator("#train-steps input")).to_have_value("2")
    page.locator("#train-seed input").fill("33")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#live [data-job]")).to_contain_text("seed 33")
    (clone,) = [found for found in Jobs(db).list() if found.seed == 33]
    assert clone.cloned_from == job.id
    assert clone.params == {**job.params, "seed": 33}
    expect(page.locator("#live [data-job]")).to_have_attribute(
        "data-state", "done", timeout=120_000
    )
    assert [step for step, _ in Metrics(db).snapshots(clone.id)] == [1, 2]


def test_a_preset_ends_a_clone(page: Page, db: Database, held: Job) -> None:
    page.goto(f"/train?job={held.id}")
    origin = page.locator("#origin")
    page.get_by_role("button", name="Clone with changes").click()
    expect(origin).to_contain_text(held.title)
    page.get_by_label("Thorough").check()
    expect(origin).not_to_contain_text("Settings of")
    page.locator("#train-seed input").fill("34")
    page.locator("#start").click()
    expect(page.locator("#live [data-job]")).to_contain_text("seed 34")
    (job,) = [found for found in Jobs(db).list() if found.seed == 34]
    assert job.cloned_from is None
    Jobs(db).request_stop(job.id)


def taken(page: Page, name: str) -> bytes:
    """What a download button hands out."""
    with page.expect_download() as found:
        page.locator(f"#get-{name}").click()
    return found.value.path().read_bytes()
