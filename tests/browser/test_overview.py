"""The first page: something real to see at once, and nothing asked of the network."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.browser


@pytest.mark.clock
def test_shows_a_heatmap_and_a_moving_comparison_within_three_seconds(page: Page) -> None:
    began = time.monotonic()
    page.goto("/")
    expect(page.locator("#overview-map [data-kept=true]").first).to_be_visible()
    painted = time.monotonic() - began
    full = page.locator("#recording .side.full .thought")
    compressed = page.locator("#recording .side.compressed .thought")
    expect(full).not_to_be_empty()
    expect(compressed).not_to_be_empty()
    first = full.inner_text()
    page.wait_for_function(
        "first => document.querySelector('#recording .side.full .thought').innerText !== first",
        arg=first,
    )
    moved = time.monotonic() - began
    print(f"\npainted after {painted:.1f} s, moved after {moved:.1f} s")
    assert moved < 3.0


@pytest.mark.slow
def test_the_recording_ends_with_fewer_bytes_on_the_compressed_side(page: Page) -> None:
    page.goto("/")
    page.wait_for_selector("#recording .side.full[data-stop=end]")
    held = "#recording .side.{} [data-figure=bytes]"
    full = int(page.locator(held.format("full")).get_attribute("data-bytes") or 0)
    compressed = int(page.locator(held.format("compressed")).get_attribute("data-bytes") or 0)
    assert 0 < compressed < full
    expect(page.locator("#recording [data-figure=saved]")).to_contain_text("% KV saved")
    page.locator("#recording").get_by_role("button", name="Play again").click()
    expect(page.locator("#recording .side.full")).to_have_attribute("data-stop", "")


def test_stands_still_for_those_who_want_that(context: BrowserContext) -> None:
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto("/")
    # The whole answer is there with the first picture: nothing types.
    expect(page.locator("#recording .side.full .answer")).to_contain_text("=", timeout=3000)


SCROLLS = ".samples, .unseen, .frame, .top nav, .eval-table"
"""What may be wider than the page: it scrolls by itself, or is for ears only."""


@pytest.mark.parametrize(
    "path",
    ["/", "/train", "/heads", "/head", "/finder", "/chat", "/masks", "/evaluate", "/stories"],
)
@pytest.mark.slow
def test_no_page_scrolls_sideways(context: BrowserContext, path: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 375, "height": 844})
    page.goto(f"{path}?__theme=dark")
    expect(page.locator("h1")).to_be_visible()
    page.wait_for_selector(
        ".race svg, .mem svg, .hm-svg, .live-top, .head-table tbody tr, .stories .tok, .thumb, "
        ".curves .curve"
    )
    assert page.evaluate("document.body.classList.contains('dark')")
    for width in (375, 1440):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_function(
            f"""() => document.documentElement.scrollWidth <= {width} && {width + 1} >=
              Math.max(...[...document.querySelectorAll('main *')]
                .filter(e => !e.closest('{SCROLLS}') && e.getBoundingClientRect().height)
                .map(e => e.getBoundingClientRect().right))""",
            timeout=5_000,
        )


def test_the_bar_leads_to_every_page(page: Page) -> None:
    page.goto("/")
    for name in ("Train", "Heads", "Chat"):
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        expect(page).to_have_url(
            f"{page.url.split('/')[0]}//{page.url.split('/')[2]}/{name.lower()}"
        )
        expect(page.locator("h1")).to_have_text(name)


def test_the_theme_button_is_remembered(page: Page) -> None:
    page.goto("/?__theme=light")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.goto("/heads")
    page.wait_for_timeout(1800)
    assert page.evaluate("document.body.classList.contains('dark')")
