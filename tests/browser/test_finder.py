"""The head finder: sort, filter, open, take away."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from tests.browser.conftest import ROOT, Server

pytestmark = pytest.mark.browser

SHIPPED = HeadMask.load(ROOT / "examples" / "masks" / "tracer")


@pytest.fixture
def finder(page: Page) -> Page:
    page.goto("/finder")
    expect(page.locator("#finder tbody tr")).to_have_count(32)
    return page


def column(page: Page, number: int) -> list[float]:
    cells = page.locator(f"#finder tbody tr td:nth-child({number}) span").all_inner_texts()
    return [float(text) for text in cells]


def test_the_most_needed_head_comes_first(finder: Page) -> None:
    names = finder.locator("#finder tbody th").all_inner_texts()
    order = np.argsort(SHIPPED.ranks(), axis=None)
    assert names == [f"{i // 8}.{i % 8}" for i in order]


@pytest.mark.slow
def test_a_heading_sorts_both_ways(finder: Page) -> None:
    finder.get_by_role("button", name="Retrieval").click()
    values = column(finder, 7)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 5
    finder.get_by_role("button", name="Retrieval").click()
    assert column(finder, 7) == values[::-1] or column(finder, 7) == sorted(values)
    expect(finder.locator("#finder th[aria-sort=ascending]")).to_have_count(1)


def test_bounds_filter_and_bad_ones_say_so(finder: Page) -> None:
    far = finder.get_by_label("Filter Attention to far tokens")
    far.fill("> 0.6")
    kept = column(finder, 5)
    assert 0 < len(kept) < 32
    assert min(kept) >= 0.6
    expect(finder.locator("#finder .count")).to_have_text(f"{len(kept)} of 32 heads")
    finder.get_by_label("Filter Rank").fill("1-8")
    assert set(column(finder, 4)) <= set(range(1, 9))
    far.fill("much")
    expect(far).to_have_attribute("aria-invalid", "true")
    finder.get_by_label("Filter Rank").fill("")
    far.fill("")
    expect(finder.locator("#finder tbody tr")).to_have_count(32)


@pytest.mark.slow
def test_states_and_names_filter(finder: Page) -> None:
    finder.get_by_role("button", name="Compressed").click()
    expect(finder.locator("#finder tbody tr")).to_have_count(32 - SHIPPED.n_kept)
    finder.get_by_role("button", name="All", exact=True).click()
    finder.get_by_label("Find heads by name").fill("2.")
    expect(finder.locator("#finder tbody tr")).to_have_count(8)


def test_a_row_opens_the_head(finder: Page) -> None:
    row = finder.locator("#finder tbody tr").nth(4)
    name = row.locator("th").inner_text()
    row.locator("td").nth(3).click()
    expect(finder.locator("h1")).to_contain_text(f"Head {name}")


def test_the_table_is_taken_away_as_csv(finder: Page, tmp_path: Path) -> None:
    with finder.expect_download() as download:
        finder.locator("#csv").click()
    path = tmp_path / "heads.csv"
    download.value.save_as(path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 32
    assert [int(row["gate_rank"]) for row in rows] == (SHIPPED.ranks() + 1).ravel().tolist()
    assert {"far", "induction", "retrieval", "reward_gradient"} <= set(rows[0])


@pytest.mark.slow
def test_heads_of_another_window_are_measured_when_asked(page: Page, server: Server) -> None:
    mask = HeadMask.from_scores(
        np.linspace(0, 1, 32).reshape(4, 8), sink=2, recent=12, model="tracer", name="Narrow"
    )
    db = open_database(server.folder)
    key = Masks(db).save(mask.to_record()).id
    db.close()
    page.goto(f"/finder?mask={key}")
    expect(page.locator("#finder-note")).to_contain_text("2 + 12 tokens", timeout=60_000)
    expect(page.locator("#finder tbody tr")).to_have_count(32)


def test_a_model_that_is_not_here_is_said_so(page: Page) -> None:
    page.goto("/finder?mask=shipped:smollm2-135m-repeat-seed1")
    expect(page.locator("#finder-note, #finder").first).to_be_visible()
    expect(page.locator("#csv")).to_be_disabled()
    page.get_by_role("button", name="Measure all heads").click()
    expect(page.locator(".toast-body")).to_contain_text("SmolLM2", timeout=60_000)
