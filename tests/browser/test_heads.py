"""The heads page: cut, click, edit, save, take away, load back."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from tests.browser.conftest import Server

pytestmark = pytest.mark.browser

LAYERS, HEADS = 4, 8


@pytest.fixture
def mask() -> HeadMask:
    """Gates that fall from left to right and top to bottom, so that every rank is known."""
    scores = np.linspace(1.0, 0.0, LAYERS * HEADS).reshape(LAYERS, HEADS)
    return HeadMask.from_scores(
        scores, sparsity=0.5, sink=4, recent=16, model="tracer", name="Falling"
    )


@pytest.fixture
def heads(page: Page, server: Server, mask: HeadMask) -> Iterator[Page]:
    """The page, open on that mask."""
    db = open_database(server.folder)
    key = Masks(db).save(mask.to_record()).id
    page.goto(f"/heads?mask={key}")
    page.wait_for_selector("#map .nsewdrag")
    expect(figure(page, "kept")).to_have_text("16 of 32")
    yield page
    db.close()


def figure(page: Page, name: str):
    return page.locator(f"#figures [data-figure={name}]")


def click_cell(page: Page, layer: int, head: int) -> None:
    """A real click on the real Plotly picture."""
    page.wait_for_function("document.querySelector('#map .js-plotly-plot')?.rlkvPicks")
    cells = page.locator("#map .nsewdrag")
    expect(cells).to_be_visible()
    box = cells.bounding_box()
    assert box is not None
    page.mouse.click(
        box["x"] + box["width"] * (head + 0.56) / (HEADS + 0.12),
        box["y"] + box["height"] * (layer + 0.56) / (LAYERS + 0.12),
    )


def set_sparsity(page: Page, keys: str, times: int = 1) -> None:
    page.focus("#sparsity input[type=range]")
    for _ in range(times):
        page.keyboard.press(keys)


def load(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Load a file").click()
    chooser.value.set_files(path)


def test_the_head_needed_most_is_open_at_first(heads: Page) -> None:
    expect(heads.locator("#panel [data-head='0.0']")).to_contain_text("1 of 32")


def test_the_slider_moves_all_figures(heads: Page, mask: HeadMask) -> None:
    expect(figure(heads, "kv-saved")).to_contain_text(f"{100 * mask.kv_saved(512):.1f} %")
    set_sparsity(heads, "End")
    expect(figure(heads, "sparsity")).to_have_text("100 %")
    expect(figure(heads, "kept")).to_have_text("0 of 32")
    set_sparsity(heads, "Home")
    expect(figure(heads, "sparsity")).to_have_text("0 %")
    expect(figure(heads, "kv-saved")).to_contain_text("0.0 %")
    set_sparsity(heads, "ArrowRight", 25)
    cut = mask.at_sparsity(0.25)
    expect(figure(heads, "kept")).to_have_text(f"{cut.n_kept} of 32")
    expect(figure(heads, "kv-saved")).to_contain_text(f"{100 * cut.kv_saved(512):.1f} %")


def test_the_length_changes_what_is_saved(heads: Page, mask: HeadMask) -> None:
    heads.locator("#length").get_by_text("32k", exact=True).click()
    expect(figure(heads, "kv-saved")).to_contain_text(f"{100 * mask.kv_saved(32768):.1f} %")
    expect(figure(heads, "kv-saved")).to_contain_text("32,768 tokens")
    expect(figure(heads, "sparsity")).to_have_text("50 %")


def test_a_click_on_a_cell_tells_about_that_head(heads: Page, mask: HeadMask) -> None:
    click_cell(heads, 2, 5)
    panel = heads.locator("#panel [data-head='2.5']")
    expect(panel).to_contain_text("Head 2.5 compressed")
    expect(panel).to_contain_text(f"{mask.scores[2, 5]:.3f}")
    expect(panel).to_contain_text("22 of 32")
    expect(panel).to_contain_text("10, 11")  # two query heads a group
    set_sparsity(heads, "Home")
    expect(figure(heads, "kept")).to_have_text("32 of 32")
    heads.wait_for_timeout(300)  # the picture is drawn anew; clicks must go on
    click_cell(heads, 0, 0)
    expect(heads.locator("#panel [data-head='0.0']")).to_contain_text("1 of 32")


def test_a_head_is_kept_by_hand(heads: Page) -> None:
    click_cell(heads, 3, 7)
    heads.get_by_role("button", name="Keep this head").click()
    expect(figure(heads, "kept")).to_have_text("17 of 32")
    expect(heads.locator("#panel")).to_contain_text("Head 3.7 kept")
    heads.get_by_role("button", name="Compress this head").click()
    expect(figure(heads, "kept")).to_have_text("16 of 32")


def test_a_mask_is_saved_downloaded_and_loaded_back(
    heads: Page, server: Server, mask: HeadMask, tmp_path: Path
) -> None:
    click_cell(heads, 3, 7)
    heads.get_by_role("button", name="Keep this head").click()
    expect(figure(heads, "kept")).to_have_text("17 of 32")
    heads.locator("#name input, #name textarea").fill("With the last head")
    heads.get_by_role("button", name="Save").click()
    heads.wait_for_function(
        "document.querySelector('#mask input').value.startsWith('With the last head')"
    )
    db = open_database(server.folder)
    row = next(r for r in Masks(db).list() if r.name == "With the last head")
    assert row.parent_id is not None
    assert HeadMask.from_record(asdict(row)).kept[3, 7]

    with heads.expect_download() as download:
        heads.get_by_role("button", name="Download").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("config.json"))["name"] == "With the last head"
    assert HeadMask.load(path).n_kept == 17

    before = len(Masks(db).list())
    load(heads, path)
    expect(heads.locator(".toast-body")).to_contain_text(["Loaded"])
    expect(figure(heads, "kept")).to_have_text("17 of 32")
    loaded = HeadMask.from_record(asdict(Masks(db).list()[0]))
    assert len(Masks(db).list()) == before + 1
    assert (loaded.kept == HeadMask.load(path).kept).all()
    assert np.array_equal(loaded.scores, mask.scores)
    db.close()


def test_a_bad_file_gets_one_clear_line_and_loses_nothing(heads: Page, tmp_path: Path) -> None:
    bad = tmp_path / "broken.zip"
    bad.write_bytes(b"not a zip at all")
    set_sparsity(heads, "ArrowRight", 10)
    expect(figure(heads, "kept")).to_have_text("13 of 32")
    load(heads, bad)
    toast = heads.locator(".toast-body")
    expect(toast).to_contain_text("not a readable zip file")
    assert "Traceback" not in toast.inner_text()
    expect(figure(heads, "kept")).to_have_text("13 of 32")


def test_event_data_that_names_no_head_changes_nothing(heads: Page) -> None:
    click_cell(heads, 1, 1)
    expect(heads.locator("#panel [data-head='1.1']")).to_be_visible()
    for layer, head in (("99", "0"), ("-1", "0"), ("'<b>'", "0"), ("true", "0"), ("null", "0.5")):
        heads.evaluate(
            "document.querySelector('#map .js-plotly-plot')"
            f".emit('plotly_click', {{points: [{{y: {layer}, x: {head}}}]}})"
        )
    heads.wait_for_timeout(500)
    expect(heads.locator("#panel [data-head='1.1']")).to_be_visible()


def test_a_mask_of_any_name_stays_text(page: Page, server: Server, mask: HeadMask) -> None:
    db = open_database(server.folder)
    record = {**mask.to_record(), "name": "<img src=x onerror=alert(1)>"}
    key = Masks(db).save(record).id
    page.goto(f"/heads?mask={key}")
    expect(figure(page, "kept")).to_have_text("16 of 32")
    assert page.locator("img[src=x]").count() == 0
    db.close()
