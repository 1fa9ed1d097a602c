"""The heads page: look, cut, open a head, play the training, save, take away, load back."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from tests.browser.conftest import Server
from tests.browser.head_map import (
    HEADS,
    LAYERS,
    cell,
    click_cell,
    figure,
    grid,
    kept,
    panel,
    set_sparsity,
    values,
    view,
    wait_for_kept,
)

pytestmark = pytest.mark.browser

PANEL_MS = 300


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
    page.wait_for_selector("#map [role=gridcell]")  # the first time the server imports torch
    expect(figure(page, "kept")).to_have_text("16 of 32")
    yield page
    db.close()


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


# --- the picture ----------------------------------------------------------------------------


def test_hover_previews_without_pinning(heads: Page, mask: HeadMask) -> None:
    tip = heads.locator("#map .hm-tip")
    expect(tip).to_be_hidden()
    cell(heads, 2, 5).hover()
    expect(tip).to_contain_text("Head 2.5")
    expect(tip).to_contain_text(f"gate {mask.scores[2, 5]:.3f}")
    expect(tip).to_contain_text("rank 22 of 32")
    expect(tip).to_contain_text("compressed")
    cell(heads, 0, 1).hover()
    expect(tip).to_contain_text("kept")
    expect(panel(heads, 0, 0)).to_be_visible()
    heads.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_a_click_pins_a_head_and_leads_to_its_page(heads: Page) -> None:
    click_cell(heads, 1, 6)
    expect(panel(heads, 1, 6)).to_be_visible()
    expect(cell(heads, 1, 6)).to_have_attribute("aria-selected", "true")
    assert heads.locator("#map [aria-selected=true]").count() == 1
    href = heads.locator("#head-page").get_attribute("href") or ""
    assert href.startswith("./head?model=tracer&mask=")
    assert href.endswith("head=1.6")
    expect(heads).to_have_url(re.compile(r"head=1\.6"))
    heads.reload()
    expect(panel(heads, 1, 6)).to_be_visible()


def test_the_keys_move_over_the_map(heads: Page) -> None:
    click_cell(heads, 1, 1)
    for keys, place in (
        ("ArrowRight", (1, 2)), ("ArrowDown", (2, 2)), ("ArrowLeft", (2, 1)), ("ArrowUp", (1, 1)),
        ("End", (1, 7)), ("PageDown", (2, 7)), ("Home", (2, 0)), ("PageUp", (1, 0)),
        ("Control+End", (3, 7)), ("ArrowRight", (3, 7)), ("Control+Home", (0, 0)),
    ):  # fmt: skip
        heads.keyboard.press(keys)
        expect(panel(heads, *place)).to_be_visible()
        expect(heads.locator("#map .hm-tip")).to_contain_text(f"Head {place[0]}.{place[1]}")
        name = cell(heads, *place).get_attribute("id") or ""
        expect(grid(heads)).to_have_attribute("aria-activedescendant", name)
    heads.keyboard.press("Escape")
    expect(heads.locator("#map .hm-tip")).to_be_hidden()


def test_a_screen_reader_gets_a_grid_with_words(heads: Page, mask: HeadMask) -> None:
    expect(grid(heads)).to_have_attribute("aria-rowcount", str(LAYERS))
    assert heads.get_by_role("gridcell").count() == LAYERS * HEADS
    words = cell(heads, 2, 5).get_attribute("aria-label")
    gate = f"{mask.scores[2, 5]:.3f}"
    assert words == f"Layer 2, KV head 5, gate {gate} · rank 22 of 32, compressed"


def test_the_kept_outline_follows_the_cut(heads: Page, mask: HeadMask) -> None:
    assert kept(heads) == mask.kept.tolist()
    set_sparsity(heads, "ArrowRight", 10)
    expect(figure(heads, "kept")).to_have_text("13 of 32")
    wait_for_kept(heads, 13)
    assert kept(heads) == mask.at_sparsity(0.6).kept.tolist()


@pytest.mark.clock
def test_a_click_is_on_the_panel_soon(heads: Page) -> None:
    """From the click to the other head's panel on screen, as the browser sees it."""
    click_cell(heads, 0, 1)
    expect(panel(heads, 0, 1)).to_be_visible()
    heads.evaluate(
        """() => {
          window.took = [];
          let began = 0;
          document.querySelector('#map .hm-svg').addEventListener('click', () => {
            began = performance.now();
          }, true);
          new MutationObserver(() => {
            if (!began) return;
            window.took.push(performance.now() - began);
            began = 0;
          }).observe(document.querySelector('#panel'), {childList: true, subtree: true});
        }"""
    )
    for turn in range(15):
        place = (turn % LAYERS, (3 * turn + 2) % HEADS)
        click_cell(heads, *place)
        expect(panel(heads, *place)).to_be_visible()
    took = sorted(heads.evaluate("window.took"))
    assert len(took) >= 10
    print(f"click to panel: median {took[len(took) // 2]:.0f} ms, worst {took[-1]:.0f} ms")
    assert took[len(took) // 2] < PANEL_MS


# --- views ----------------------------------------------------------------------------------


def test_the_views_draw_what_they_say(heads: Page, mask: HeadMask) -> None:
    assert np.allclose(values(heads), mask.scores, atol=1e-3)
    view(heads, "Rank")
    expect(cell(heads, 3, 7)).to_have_attribute("data-value", "0")
    expect(cell(heads, 0, 0)).to_contain_text("1")
    expect(cell(heads, 3, 7)).to_contain_text("32")
    expect(heads).to_have_url(re.compile("view=rank"))
    view(heads, "Kept")
    expect(heads.locator("#map .hm-note")).to_contain_text("16 of 32 heads keep the whole past")
    assert (np.array(values(heads)) == mask.kept).all()
    expect(heads).to_have_url(re.compile("view=kept"))
    heads.reload()
    expect(heads.locator("#map .hm-note")).to_contain_text("16 of 32 heads keep the whole past")


def test_a_mask_is_compared_with_another(heads: Page, server: Server, mask: HeadMask) -> None:
    db = open_database(server.folder)
    other = mask.toggle(0, 0)
    Masks(db).save({**other.to_record(), "name": "Without the first"})
    db.close()
    view(heads, "Difference")
    note = heads.locator("#map .hm-note")
    expect(note).to_contain_text("Against random heads")
    heads.locator("#other input").click()
    heads.get_by_role("option", name="The opposite ranking").click()
    expect(note).to_contain_text("0 of the 16 kept heads are kept in both")
    expect(note).to_contain_text("Rank correlation -1.00")
    expect(heads).to_have_url(re.compile("view=difference.*other=opposite"))
    heads.locator("#other input").click()
    heads.get_by_role("option", name="Without the first").first.click()
    expect(note).to_contain_text("and 1 head differs")
    assert np.argwhere(values(heads)).tolist() == [[0, 0]]
    expect(heads).not_to_have_url(re.compile("other=opposite"))
    heads.reload()
    expect(note).to_contain_text("and 1 head differs")


@pytest.mark.slow
def test_seeds_agree_or_there_is_only_one(page: Page, server: Server, mask: HeadMask) -> None:
    db = open_database(server.folder)
    keys = []
    for seed in range(3):
        random = HeadMask.random(LAYERS, HEADS, sparsity=0.5, seed=seed, model="agreeing")
        info = {"task": "tracing", "seed": seed, "head_dim": 16, "itemsize": 4, "query_heads": 16}
        keys.append(Masks(db).save({**random.to_record(), "info": info}).id)
        page.goto(f"/heads?mask={keys[0]}&view=agreement")
        note = page.locator("#map .hm-note")
        expect(note).to_contain_text("only one seed" if seed == 0 else f"{seed + 1} seeds")
    expect(cell(page, 0, 0)).to_contain_text("/3")
    bar = page.locator("#map .legend .bar").bounding_box()
    assert bar is not None
    assert bar["height"] == 10
    set_sparsity(page, "Home")
    expect(note).to_contain_text("share 100 % of their kept heads")
    expect(cell(page, 3, 3)).to_have_attribute("data-value", "1")
    db.close()


# --- the training, played -------------------------------------------------------------------


@pytest.fixture
def trained(page: Page) -> Page:
    """The shipped mask, which comes with its training."""
    page.goto("/heads?mask=shipped")
    expect(page.locator("#map .hm-time")).to_be_visible()
    return page


def at_step(page: Page) -> int | None:
    step = grid(page).get_attribute("data-step")
    return int(step) if step else None


@pytest.mark.slow
def test_the_training_plays_and_ends_with_the_mask(trained: Page) -> None:
    final, drawn = kept(trained), values(trained)
    trained.get_by_role("button", name="Play the training").click()
    trained.wait_for_function("document.querySelector('#map .hm-svg').dataset.step > 20")
    expect(trained.locator("#map .hm-say")).to_contain_text("reward")
    pause = trained.get_by_role("button", name="Pause")
    pause.click()
    held = at_step(trained)
    assert held is not None
    count = sum(map(sum, kept(trained)))
    assert count == sum(map(sum, final))  # as many heads as the cut keeps, at every step
    trained.wait_for_timeout(300)
    assert at_step(trained) == held
    trained.get_by_role("button", name="Play the training").click()
    expect(trained.locator("#map .hm-say")).to_contain_text("the mask as it is", timeout=9000)
    assert (kept(trained), values(trained)) == (final, drawn)


@pytest.mark.slow
def test_the_slider_goes_by_keys(trained: Page) -> None:
    slider = trained.get_by_role("slider", name="Step of the training")
    slider.focus()
    trained.keyboard.press("Home")
    assert at_step(trained) == 1
    first = values(trained)
    assert min(map(min, first)) > 0.9  # every training begins with open gates
    trained.keyboard.press("ArrowRight")
    assert (at_step(trained) or 0) > 1
    assert values(trained) != first
    trained.keyboard.press("End")
    assert at_step(trained) is None


@pytest.mark.slow
def test_without_motion_it_goes_in_steps(context: BrowserContext) -> None:
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto("/heads?mask=shipped")
    page.get_by_role("button", name="Play the training").click()
    seen = {at_step(page)}
    for _ in range(20):
        page.wait_for_timeout(100)
        seen.add(at_step(page))
    in_turn = sorted(step for step in seen if step is not None)
    assert len(in_turn) > 1
    assert min(b - a for a, b in pairwise(in_turn)) >= 10  # with motion it is 1 or a few


@pytest.mark.slow
def test_the_slider_chooses_what_a_change_is_counted_from(trained: Page) -> None:
    view(trained, "Change")
    note = trained.locator("#map .hm-note")
    expect(note).to_contain_text("from step 1 to step 150")
    trained.get_by_role("slider", name="Step to count the change from").focus()
    before = values(trained)
    for _ in range(30):
        trained.keyboard.press("ArrowRight")
    expect(note).not_to_contain_text("from step 1 to")
    expect(trained).to_have_url(re.compile(r"base=\d+"))
    assert values(trained) != before
    trained.keyboard.press("End")
    expect(note).to_contain_text("from step 150 to step 150")
    assert not np.any(values(trained))


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


def test_the_numbers_of_the_map_are_exported(heads: Page, mask: HeadMask, tmp_path: Path) -> None:
    view(heads, "Rank")
    expect(cell(heads, 3, 7)).to_contain_text("32")
    heads.locator("#map").get_by_role("button", name="Export").click()
    with heads.expect_download() as download:
        heads.get_by_role("menuitem", name="Numbers (CSV)").click()
    assert download.value.suggested_filename == "heads-rank.csv"
    download.value.save_as(tmp_path / "heads.csv")
    lines = (tmp_path / "heads.csv").read_text("utf-8-sig").split()
    assert lines[0] == "layer,head,rank,kept"
    assert lines[1] == "0,0,1,1"
    assert lines[-1] == "3,7,32,0"
    assert len(lines) == 33


def test_an_exported_map_has_its_scale_and_says_what_the_outline_means(
    heads: Page, tmp_path: Path
) -> None:
    texts = {}
    for name, scale in (
        ("Gate", {"0  a few tokens suffice", "1  needs the whole past"}),
        ("Kept", set()),
    ):
        view(heads, name)
        expect(heads.locator("#map .hm-svg")).to_have_attribute("data-view", name.lower())
        heads.locator("#map").get_by_role("button", name="Export").click()
        with heads.expect_download() as download:
            heads.get_by_role("menuitem", name="Drawing (SVG)").click()
        download.value.save_as(tmp_path / "map.svg")
        drawing = (tmp_path / "map.svg").read_text()
        texts[name] = set(re.findall(r"<text[^>]*>([^<]*)</text>", drawing))
        assert scale | {"kept", "compressed"} <= texts[name]
        assert "class=" not in drawing
    assert "1  needs the whole past" not in texts["Kept"]
