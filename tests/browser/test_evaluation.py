"""The evaluation page: start one, watch its curves, read answers, take it all away."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rlkv.worker import create_evaluation, run_job
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.samples import Samples
from tests.browser.conftest import Server
from tests.holding import holding
from tests.rlkv.evaluation.stage import small

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def measured(server: Server) -> Job:
    """A finished evaluation of 12 problems."""
    db = open_database(server.folder)
    config = small(
        methods=["learned", "random", "streaming"], sparsities=[0.5, 0.75], problems=12, top=True,
        rows_at_once=12, seed=3,
    )  # fmt: skip
    job = run_job(db, create_evaluation(config, db, claimed_by=os.getpid()))
    db.close()
    assert job.state == "done", job.message
    return job


@pytest.mark.slow
def test_started_from_the_page_it_runs_to_its_end(page: Page, db: Database) -> None:
    page.goto("/evaluate")
    expect(page.locator("#size")).to_contain_text("answers")
    for name in ("Random", "Inverse", "Attention on far tokens", "Gradient of the answer"):
        page.locator("#eval-methods label", has_text=name).click()
    page.locator("#eval-sparsities textarea, #eval-sparsities input").fill("0.5")
    page.locator("#eval-problems input").fill("4")
    page.locator("#eval-problems input").blur()
    expect(page.locator("#size")).to_contain_text("3 points, 12 answers")
    page.locator("#start").dblclick()
    expect(page.locator("#live [data-state=done]")).to_be_visible(timeout=120_000)
    (job,) = [j for j in Jobs(db).list(kind="eval") if j.params["problems"] == 4]
    assert len(Samples(db).known(job.id)) == 12
    expect(page.locator("[data-figure=near-lossless]")).to_contain_text("50 %")
    page.reload()
    expect(page.locator(f"#live [data-job='{job.id}']")).to_be_visible()
    page.goto("/train")
    expect(page.locator("#jobs")).not_to_contain_text("4 problems")


def test_figures_and_curves_are_those_of_the_answers(
    page: Page, db: Database, measured: Job
) -> None:
    page.goto(f"/evaluate?job={measured.id}")
    marks = Samples(db).marks(measured.id)
    right = [m.verdict == "right" for m in marks if m.cell == "learned-0@0.75"]
    share = sum(right) / len(right)
    cell = page.locator("#points [data-cell='learned-0@0.75']")
    assert float(cell.get_attribute("data-accuracy") or "") == share
    dots = page.locator("#accuracy .curve[data-series=learned-0] .shape")
    expect(dots).to_have_count(2)
    shown = {d.get_attribute("data-sparsity"): d.get_attribute("data-y") for d in dots.all()}
    assert float(shown["0.75"] or "") == share
    expect(page.locator("#accuracy-top .curve[data-series=learned-0-top] .shape")).to_have_count(4)
    page.locator("#accuracy .curve-keys [data-series=random]").click()
    expect(page.locator("#accuracy .curve[data-series=random]")).to_have_count(0)
    page.locator("#accuracy .axes button", has_text="KV bytes").click()
    expect(page.locator("#accuracy svg[role=img]")).to_contain_text("Measured KV bytes")
    page.locator("#accuracy svg[role=img]").press("ArrowRight")
    expect(page.locator("#accuracy .curve-card")).to_contain_text("12 problems")


def test_any_pair_of_answers_can_be_read(page: Page, db: Database, measured: Job) -> None:
    page.goto(f"/evaluate?job={measured.id}")
    page.locator("#points [data-cell=streaming]").click()
    expect(page.locator("#answers [data-problem]")).to_have_count(12)
    page.locator("#filter label", has_text="Only A right").click()
    verdicts = {(m.cell, m.problem): m.verdict for m in Samples(db).marks(measured.id)}
    lost = [
        p for p in range(12)
        if verdicts["full", p] == "right" and verdicts["streaming", p] != "right"
    ]  # fmt: skip
    expect(page.locator("#answers [data-problem]")).to_have_count(len(lost))
    page.locator(f"#answers [data-problem='{lost[0]}']").click()
    for name in ("full", "streaming"):
        (row,) = [r for r in Samples(db).answers(measured.id, lost[0]) if r.cell == name]
        said = page.locator(f"#pair [data-cell='{name}'] .said")
        expect(said).to_have_text(row.text, use_inner_text=False)
    expect(page.locator("#pair mark").first).to_be_visible()


def test_everything_can_be_taken_away(page: Page, measured: Job, tmp_path: Path) -> None:
    page.goto(f"/evaluate?job={measured.id}")
    expect(page.locator("#points table")).to_be_visible()
    found = {}
    for name in ("points", "answers", "record", "page"):
        with page.expect_download() as taken:
            page.locator(f"#get-{name}").click()
        found[name] = tmp_path / taken.value.suggested_filename
        taken.value.save_as(found[name])
    points = list(csv.DictReader(found["points"].read_text().splitlines()))
    assert {row["series"] for row in points} >= {"full", "learned-0", "random", "streaming"}
    lines = found["answers"].read_text().splitlines()
    assert len(list(csv.DictReader(lines))) == measured.total_steps
    assert json.loads(found["record"].read_text())["settings"]["seed"] == 3
    assert "Plotly.newPlot" in found["page"].read_text()


def test_an_exported_picture_names_its_curves_and_its_numbers_say_all(
    page: Page, db: Database, measured: Job, tmp_path: Path
) -> None:
    page.goto(f"/evaluate?job={measured.id}")
    page.locator("#accuracy .curve-keys [data-series=streaming]").click()
    found = {}
    for kind in ("svg", "csv"):
        page.locator("#accuracy .export > button").click()
        with page.expect_download() as taken:
            page.locator(f"#accuracy [data-kind={kind}]").click()
        taken.value.save_as(tmp_path / kind)
        found[kind] = (tmp_path / kind).read_text()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", found["svg"])
    assert {"Accuracy", "Learned", "Random"} <= set(texts)
    assert "All compressed" not in texts
    full, *others = csv.DictReader(found["csv"].splitlines())
    assert full["method"] == "Full cache"
    assert {row["method"] for row in others} == {"Learned", "Random", "All compressed"}
    held = [m.kv_bytes for m in Samples(db).marks(measured.id) if m.cell == "full"]
    assert float(full["kv bytes"]) == pytest.approx(sum(held) / len(held))
    page.locator("#lengths .export > button").click()
    with page.expect_download() as taken:
        page.locator("#lengths [data-kind=csv]").click()
    taken.value.save_as(tmp_path / "lengths")
    header = (tmp_path / "lengths").read_text().splitlines()[0]
    assert header == 'method,sparsity,"tokens of an answer, mean"'


@pytest.mark.slow
def test_mistakes_are_told_and_settings_come_back(page: Page, db: Database, measured: Job) -> None:
    page.goto(f"/evaluate?job={measured.id}")
    page.locator("#clone").click()
    expect(page.locator("#eval-problems input")).to_have_value("12")
    field = page.locator("#eval-sparsities textarea, #eval-sparsities input")
    expect(field).to_have_value("0.5, 0.75")
    field.fill("half")
    expect(page.locator("#size .warn")).to_contain_text("Sparsities: give numbers such as")
    before = len(Jobs(db).list(kind="eval"))
    page.locator("#start").click()
    expect(page.locator(".toast-body")).to_contain_text("Sparsities")
    assert len(Jobs(db).list(kind="eval")) == before


def test_a_running_one_shows_no_unfinished_points(page: Page, db: Database) -> None:
    with holding(db, create_evaluation(small(seed=9), db, claimed_by=os.getpid())) as job:
        samples = Samples(db)
        source = Jobs(db).list(kind="eval")[-1]
        cells = [(cell.key, cell.info) for cell in samples.cells(source.id)]
        samples.plan(job.id, [(p.prompt, p.answer) for p in samples.problems(source.id)], cells)
        rows = samples.all(source.id)
        keep = [r for r in rows if r.cell == "full"] + [r for r in rows if r.cell != "full"][:2]
        samples.add(job.id, keep)
        page.goto(f"/evaluate?job={job.id}")
        expect(page.locator("#points .partial")).to_have_count(1)
        assert page.locator("#accuracy .curve").count() == 0
        expect(page.locator("[data-figure=near-lossless]")).to_contain_text("–")  # noqa: RUF001
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    Jobs(db).delete(job.id)  # the newest is what the page opens with, for other tests too


@pytest.mark.slow
def test_stopped_and_resumed_from_the_page_it_keeps_every_answer(page: Page, db: Database) -> None:
    config = small(methods=["learned", "streaming"], problems=60, rows_at_once=4, seed=11)
    job, samples = create_evaluation(config, db), Samples(db)
    page.goto(f"/evaluate?job={job.id}")
    expect(page.locator("#live [data-state=running]")).to_be_visible(timeout=60_000)
    expect(page.locator("#points [data-cell]").first).to_be_visible(timeout=60_000)
    expect(page.locator("#resume")).to_be_hidden()
    page.locator("#stop").click()
    expect(page.locator("#live [data-state=cancelled]")).to_be_visible(timeout=60_000)
    expect(page.locator("#stop")).to_be_hidden()
    before = samples.all(job.id)
    assert 0 < len(before) < 180
    expect(page.locator("#live")).to_contain_text(f"Stopped; {len(before)} answers kept")
    page.locator("#resume").click()
    expect(page.locator("#live [data-state=done]")).to_be_visible(timeout=120_000)
    expect(page.locator("#resume")).to_be_hidden()
    after = samples.all(job.id)
    assert len(after) == len(samples.known(job.id)) == 180
    assert {(r.cell, r.problem, r.text) for r in before} <= {
        (r.cell, r.problem, r.text) for r in after
    }


@pytest.mark.slow
def test_before_anything_ran_there_are_recorded_curves(page: Page) -> None:
    page.goto("/evaluate?job=recorded")
    expect(page.locator("#live [data-state=recorded]")).to_be_visible()
    expect(page.locator("#accuracy .curve")).to_have_count(9)
    expect(page.locator("#points tbody tr")).to_have_count(14)
    expect(page.locator("[data-figure=near-lossless]")).to_contain_text("60 %")
    expect(page.locator("#jobs")).not_to_contain_text("No job yet")
    page.locator("#answers [data-problem]").nth(3).click()
    expect(page.locator("#pair section")).to_have_count(2)
    expect(page.locator("#pair")).to_contain_text("Problem 4")
    page.locator("#filter label", has_text="Only A right").click()
    expect(page.locator("#answers .count")).to_contain_text(re.compile(r"^\d+ of 200 problems"))
    with page.expect_download() as taken:
        page.locator("#get-answers").click()
    with Path(taken.value.path()).open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == 29_200
    with page.expect_download() as taken:
        page.locator("#get-record").click()
    assert "recorded" in taken.value.suggested_filename
    page.locator("#clone").click()
    expect(page.locator("#eval-methods label.selected")).to_have_count(9)
    page.set_viewport_size({"width": 390, "height": 800})
    mark, full = page.locator("#accuracy .mark"), page.locator("#accuracy .t-full")
    page.wait_for_function("document.querySelector('#accuracy .fig').clientWidth < 390")
    above, below = mark.bounding_box(), full.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] + above["height"] <= below["y"] + 2
