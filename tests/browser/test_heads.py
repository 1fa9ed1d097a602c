"""The heads page: look, cut, open a head, save, take away, load back; sizes and themes."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from tests.browser.conftest import Server
from tests.browser.head_map import (
    cell,
    click_cell,
    figure,
    grid,
    panel,
    set_sparsity,
)

pytestmark = pytest.mark.browser


def load(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Load a file").click()
    chooser.value.set_files(path)


def test_the_head_needed_most_is_open_at_first(heads: Page) -> None:
    expect(heads.locator("#panel [data-head='0.0']")).to_contain_text("1 of 32")


def test_zoomed_or_on_a_phone_nothing_is_cut_off(heads: Page) -> None:
    heads.set_viewport_size({"width": 720, "height": 450})
    right = "all => Math.max(...all.map(e => e.getBoundingClientRect().right))"
    assert heads.locator(".top a, .top button").evaluate_all(right) <= 720
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
    assert heads.locator("#figures .tile").evaluate_all(cut) == []
    heads.set_viewport_size({"width": 390, "height": 800})
    track, block = heads.locator("#sparsity input[type=range]"), heads.locator("#sparsity")
    bottom = "e => e.getBoundingClientRect().bottom"
    assert block.evaluate(bottom) - track.evaluate(bottom) >= 6  # or its thumb is cut off


def test_the_slider_moves_all_figures(heads: Page, mask: HeadMask) -> None:
    expect(figure(heads, "kv-saved")).to_contain_text(f"{100 * mask.kv_saved(512):.1f} %")
    track = heads.locator("#sparsity input[type=range]")
    set_sparsity(heads, "End")
    assert track.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"  # who has the keys
    expect(figure(heads, "sparsity")).to_have_text("100 %")
    expect(figure(heads, "kept")).to_have_text("0 of 32")
    set_sparsity(heads, "Home")
    expect(figure(heads, "sparsity")).to_have_text("0 %")
    expect(figure(heads, "kv-saved")).to_contain_text("0.0 %")
    set_sparsity(heads, "ArrowRight", 25)
    cut = mask.at_sparsity(0.25)
    expect(figure(heads, "kept")).to_have_text(f"{cut.n_kept} of 32")
    expect(figure(heads, "kv-saved")).to_contain_text(f"{100 * cut.kv_saved(512):.1f} %")


@pytest.mark.slow
def test_a_number_beyond_the_slider_is_its_end_and_no_number_changes_nothing(heads: Page) -> None:
    box = heads.locator("#sparsity input[type=number]")
    for typed, left in (("7", "0 of 32"), ("", "0 of 32"), ("-1", "32 of 32"), ("0.5", "16 of 32")):
        box.fill(typed)
        expect(figure(heads, "kept")).to_have_text(left)
        heads.wait_for_timeout(300)  # a refusal would come late, as an error of the console
    expect(figure(heads, "kept")).to_have_text("16 of 32")


@pytest.mark.slow
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
    click_cell(heads, 0, 0)
    expect(heads.locator("#panel [data-head='0.0']")).to_contain_text("1 of 32")


def test_nothing_cuts_off_the_ring_around_a_chosen_view(heads: Page) -> None:
    heads.locator("#view input").first.focus()
    heads.keyboard.press("ArrowRight")
    ring = heads.locator("#view label:has(input:checked)")
    expect(ring).to_have_css("outline-style", "solid")
    assert heads.locator("#view").evaluate("e => getComputedStyle(e).overflow") == "visible"


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
    expect(heads.locator("#loaded .found")).to_contain_text("17 of 32, as the file says")
    assert len(Masks(db).list()) == before
    heads.locator("#loaded").get_by_role("button", name="Keep").click()
    expect(heads.locator(".toast-body")).to_contain_text(["Kept"])
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


def test_a_mask_of_any_name_stays_text(page: Page, server: Server, mask: HeadMask) -> None:
    db = open_database(server.folder)
    record = {**mask.to_record(), "name": "<img src=x onerror=alert(1)>"}
    key = Masks(db).save(record).id
    page.goto(f"/heads?mask={key}")
    expect(figure(page, "kept")).to_have_text("16 of 32")
    assert page.locator("img[src=x]").count() == 0
    db.close()


# --- sizes, themes --------------------------------------------------------------------------


@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.slow
def test_a_large_model_fits(
    context: BrowserContext, server: Server, width: int, theme: str
) -> None:
    db = open_database(server.folder)
    key = Masks(db).save(HeadMask.random(80, 8, sparsity=0.5, seed=0).to_record()).id
    db.close()
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/heads?mask={key}&__theme={theme}")
    expect(cell(page, 79, 7)).to_be_visible()
    box = grid(page).bounding_box()
    assert box is not None
    assert box["height"] < 930
    assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    click_cell(page, 79, 7)
    expect(panel(page, 79, 7)).to_be_visible()
    fills = page.evaluate(
        "[...document.querySelectorAll('#map .hm-fill.full')].map(n => getComputedStyle(n).fill)"
    )
    assert set(fills) == {"rgb(76, 140, 240)" if theme == "dark" else "rgb(37, 99, 201)"}


def test_the_chart_of_layers_and_the_others_follow_the_cut(heads: Page) -> None:
    gates = heads.locator("#chart-gates")
    expect(gates.locator("svg")).to_be_visible()
    words = gates.inner_html()
    set_sparsity(heads, "End")
    expect(figure(heads, "kept")).to_have_text("0 of 32")
    heads.wait_for_function(
        "old => document.querySelector('#chart-gates').innerHTML !== old", arg=words
    )
    for name in ("chart-layers", "chart-saved"):
        expect(heads.locator(f"#{name} svg")).to_be_visible()
