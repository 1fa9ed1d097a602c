"""The picture of the heads: pointing, clicking, keys, what a reader hears, and taking it away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from rlkv.masks import HeadMask
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
    view,
    wait_for_kept,
)

pytestmark = pytest.mark.browser

PANEL_MS = 300


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
