"""The train page: a real job, watched, left, watched again, stopped; the server killed under it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from storage.database import Database, open_database
from storage.jobs import Jobs
from storage.masks import Masks
from tests.browser.conftest import Server, Watch

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

STEP_SECONDS = 120
"""For a first step: the worker imports torch, and samples which problems the model solves."""


@pytest.fixture
def db(server: Server) -> Iterator[Database]:
    """The database; no job is left running behind a test."""
    db = open_database(server.folder)
    yield db
    jobs = Jobs(db)
    for job in jobs.active():
        jobs.request_stop(job.id)
    end = time.monotonic() + 60
    while jobs.active() and time.monotonic() < end:
        time.sleep(0.2)
    assert not jobs.active()
    db.close()


DRAWN = (
    "[...document.querySelectorAll('#forming [role=gridcell]')].map(c => Number(c.dataset.value))"
)


def start(page: Page, seed: int) -> str:
    """Presses Start, with few problems and short steps; returns the job's id."""
    page.goto("/train")
    page.get_by_role("button", name="As a command line").click()
    page.get_by_role("button", name="More settings").click()
    page.locator("#train-problems input").fill("32")
    page.locator("#train-prompts_per_step input").fill("3")
    page.locator("#train-seed input").fill(str(seed))
    expect(page.locator("#command")).to_contain_text(f"--seed {seed}")
    page.get_by_role("button", name="Start", exact=True).click()
    top = page.locator("#live [data-job]")
    expect(top).to_contain_text(f"seed {seed}")
    return top.get_attribute("data-job") or ""


def wait_for_step(page: Page, step: int) -> None:
    page.wait_for_function(
        "step => parseInt(document.querySelector('#live [data-figure=step]')?.innerText) >= step",
        arg=step,
        timeout=STEP_SECONDS * 1000,
    )


def gates(page: Page) -> list[float]:
    """What the picture really draws."""
    found: list[float] = page.evaluate(DRAWN)
    return found


def curves(page: Page) -> list[str]:
    """The lines that are drawn, point by point."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('#curves path.line')].map(line => line.getAttribute('d'))"
    )
    assert found
    return found


def test_a_job_forms_a_heatmap_survives_reload_and_stops_with_its_mask(
    page: Page, context: BrowserContext, db: Database
) -> None:
    job_id = start(page, seed=11)
    assert f"job={job_id}" in page.evaluate("location.href")
    wait_for_step(page, 2)
    before = gates(page)
    wait_for_step(page, 4)
    page.wait_for_function(
        f"old => JSON.stringify({DRAWN}) !== old",
        arg=json.dumps(before, separators=(",", ":")),
    )
    drawn = page.locator("#curves path.line.r-full").get_attribute("d")
    assert drawn is not None
    assert drawn.count("L") >= 1
    expect(page.locator("#live [data-figure=time-left]")).not_to_have_text("\u2013")

    page.reload()
    expect(page.locator("#live [data-job]")).to_have_attribute("data-job", job_id)
    wait_for_step(page, 4)
    second = context.new_page()
    second.goto("/train")  # no id in the address: the active job opens by itself
    expect(second.locator("#live [data-job]")).to_have_attribute("data-job", job_id)

    second.get_by_role("button", name="Stop and keep what it learned").click()
    expect(page.locator("#live [data-job]")).to_have_attribute(
        "data-state", "cancelled", timeout=60_000
    )
    assert len(Masks(db).list(job_id=job_id)) == 1
    page.get_by_role("link", name="Open in Heads").click()
    page.wait_for_selector("#map [role=gridcell]")
    assert Masks(db).list(job_id=job_id)[0].id in page.url


@pytest.mark.slow
def test_pressing_start_twice_starts_one_job(
    page: Page, context: BrowserContext, db: Database
) -> None:
    first = start(page, seed=12)
    assert start(context.new_page(), seed=12) == first
    assert len([job for job in Jobs(db).list() if job.seed == 12]) == 1


@pytest.mark.slow
def test_a_killed_server_does_not_lose_the_job(
    page: Page, context: BrowserContext, server: Server, db: Database, watch: Watch
) -> None:
    job_id = start(page, seed=13)
    wait_for_step(page, 1)
    left_open = context.new_page()
    left_open.goto(f"/train?job={job_id}")
    expect(left_open.locator("#live [data-figure=step]")).to_be_visible()
    pid = Jobs(db).get(job_id).pid
    watch.server_away = True
    server.kill()
    step = Jobs(db).get(job_id).step
    end = time.monotonic() + 60
    while Jobs(db).get(job_id).step <= step and time.monotonic() < end:
        time.sleep(0.2)
    assert Jobs(db).get(job_id).step > step  # it went on without any server
    server.start()
    page.goto(f"/train?job={job_id}")
    expect(page.locator("#live [data-job]")).to_have_attribute("data-state", "running")
    wait_for_step(page, step + 1)
    wait_for_step(left_open, step + 1)  # nobody had to load it again
    assert Jobs(db).get(job_id).pid == pid

    Jobs(db).request_stop(job_id)
    expect(page.locator("#live [data-job]")).to_have_attribute(
        "data-state", "cancelled", timeout=60_000
    )
    before = curves(page)
    server.kill()
    server.start()
    page.goto(f"/train?job={job_id}")
    expect(page.locator("#live [data-job]")).to_have_attribute("data-state", "cancelled")
    page.wait_for_function("document.querySelectorAll('#curves path.line').length > 0")
    assert curves(page) == before
    watch.server_away = False


def test_a_setting_out_of_bounds_gets_one_clear_line(page: Page, db: Database) -> None:
    page.goto("/train")
    page.get_by_role("button", name="More settings").click()
    page.locator("#train-learning_rate input").fill("7")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".toast-body")).to_contain_text("Learning rate")
    assert not Jobs(db).active()


@pytest.mark.slow
def test_the_form_says_what_memory_it_needs_and_start_refuses_too_much(
    page: Page, db: Database
) -> None:
    page.goto("/train")
    expect(page.locator("#memory")).to_contain_text("48 rows at once", timeout=60_000)
    page.get_by_role("button", name="More settings").click()
    page.locator("#train-prompts_per_step input").fill("1024")
    page.locator("#train-max_new_tokens input").fill("32768")
    page.locator("#train-rows_at_once input").fill("4096")
    expect(page.locator("#memory")).to_contain_text("Out of memory before it starts")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".toast-body")).to_contain_text("Out of memory before it starts")
    assert not Jobs(db).active()


@pytest.mark.slow
def test_a_preset_fills_the_form_and_keeps_the_model(page: Page, db: Database) -> None:
    page.goto("/train")
    page.get_by_role("button", name="More settings").click()
    page.get_by_role("button", name="As a command line").click()
    page.get_by_label("Paper").check()
    expect(page.locator("#train-steps input")).to_have_value("185")
    expect(page.locator("#train-task input")).to_have_value("deepscaler")
    expect(page.locator("#train-model input")).to_have_value("tracer")
    expect(page.locator("#preset")).to_contain_text("published constants")
    expect(page.locator("#preset")).to_contain_text("such as Qwen/Qwen3-4B-Thinking-2507")
    expect(page.locator("#command")).to_contain_text("--no-elimination")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".toast-body")).to_contain_text("choose a model that does")
    page.get_by_label("Quick").check()
    expect(page.locator("#train-steps input")).to_have_value("150")
    assert not Jobs(db).active()
