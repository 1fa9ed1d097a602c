"""The page of one head: its address, where it looks, what it does to an answer, the way on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from tests.browser.conftest import ROOT, Server

pytestmark = pytest.mark.browser

SHIPPED = HeadMask.load(ROOT / "examples" / "masks" / "tracer")
QUESTION = "g=7; i=7; f=5; k:i-f; j:k-g; a:k+i; l:f+j; ?l"


@pytest.fixture
def head(page: Page) -> Page:
    page.goto("/head?model=tracer&mask=shipped&head=1.2")
    expect(page.locator("#look-tokens .tokens-root [data-i]").first).to_be_visible(timeout=60_000)
    return page


def cell(page: Page, layer: int, column: int):
    return page.locator(f"#head-map [data-head='{layer}.{column}']")


def test_the_address_names_the_head(head: Page) -> None:
    expect(head.locator("h1")).to_contain_text("Head 1.2")
    rank = int(SHIPPED.ranks()[1, 2]) + 1
    expect(head.locator("#head-figures [data-figure=rank]")).to_have_text(f"{rank} of 32")
    expect(head.locator("#head-course svg").first).to_be_visible()
    expect(head.locator("#head-rankings tbody tr")).to_have_count(7)
    expect(head.locator("#head-alike li")).to_have_count(6)


def test_an_address_without_sense_opens_the_head_needed_most(page: Page) -> None:
    page.goto("/head?mask=nosuch&head=99.<b>")
    layer, column = (int(i[0]) for i in (SHIPPED.ranks() == 0).nonzero())
    expect(page.locator("h1")).to_contain_text(f"Head {layer}.{column}")


@pytest.mark.slow
def test_the_map_leads_to_other_heads_and_the_address_follows(head: Page) -> None:
    cell(head, 2, 7).click()
    expect(head.locator("h1")).to_contain_text("Head 2.7")
    head.wait_for_url(re.compile(r"head=2\.7"))
    expect(head.locator("#look-tokens")).to_contain_text("Attention of head 2.7")
    head.reload()
    expect(head.locator("h1")).to_contain_text("Head 2.7")


@pytest.mark.slow
def test_alike_heads_and_neighbours_are_links(head: Page) -> None:
    link = head.locator("#head-alike a").first
    name = link.locator("b").inner_text()
    link.click()
    expect(head.locator("h1")).to_contain_text(f"Head {name}")


def test_where_it_looks_follows_the_text(head: Page) -> None:
    count = head.locator("#look-tokens [data-i]").count()
    head.locator("#look-text textarea").fill("a=3; b=4; c:a+b; d:c-a; e:d+b; ?e")
    head.locator("#look").click()
    expect(head.locator("#look-tokens [data-i]")).not_to_have_count(count)
    expect(head.locator("#look-tokens")).to_contain_text("e=8")  # the model's own answer
    head.get_by_text("A text as it is").click()
    head.locator("#look").click()
    expect(head.locator("#look-tokens")).not_to_contain_text("e=8")


@pytest.mark.slow
def test_one_query_head_of_the_group(head: Page) -> None:
    before = head.locator("#look-masses svg").inner_html()
    tokens = head.locator("#look-tokens")
    shown = tokens.locator(".tokens-root").inner_html()
    head.locator("#look-group").get_by_text("5", exact=True).click()
    head.wait_for_function(
        "before => document.querySelector('#look-tokens .tokens-root').innerHTML !== before",
        arg=shown,
    )
    assert head.locator("#look-masses svg").inner_html() == before  # of the whole group


def test_bad_texts_get_one_line_and_lose_nothing(head: Page) -> None:
    count = head.locator("#look-tokens [data-i]").count()
    head.locator("#look-text textarea").fill("what is <img src=x onerror=alert(1)> this?")
    head.locator("#look").click()
    expect(head.locator(".toast-body")).to_be_visible()
    assert head.locator("img[src=x]").count() == 0
    assert head.locator("#look-tokens [data-i]").count() == count


def test_the_effect_is_measured_both_ways(head: Page) -> None:
    result = head.locator("#change-result")
    expect(result).to_contain_text("Compressing head 1.2", timeout=30_000)
    expect(result.locator("[data-figure=before]")).to_have_text("right")
    layer, column = (int(i[0]) for i in (SHIPPED.ranks() == 31).nonzero())  # compressed
    cell(head, layer, column).click()
    expect(result).to_contain_text(f"Restoring head {layer}.{column}", timeout=30_000)
    head.get_by_text("All other heads keep everything").click()
    expect(result).to_contain_text(f"Compressing head {layer}.{column}", timeout=30_000)


def test_a_head_that_matters_changes_the_answer(
    page: Page, server: Server, tracer_masks: tuple[str, tuple[int, int]]
) -> None:
    key, cell_ = tracer_masks
    page.goto(f"/head?mask={key}&head={cell_[0]}.{cell_[1]}")
    page.locator("#change-text textarea").fill(QUESTION)
    page.locator("#change").click()
    result = page.locator("#change-result")
    expect(result).to_contain_text("changes the answer at token", timeout=60_000)
    expect(page.locator("#change-tokens .changed, #change-tokens [data-role=changed]").first
           ).to_be_visible()  # fmt: skip


@pytest.fixture
def tracer_masks(server: Server) -> Iterator[tuple[str, tuple[int, int]]]:
    """A mask that has just the heads it needs, and the last one it kept."""
    mask = SHIPPED.at_sparsity(0.75)
    db = open_database(server.folder)
    key = Masks(db).save({**mask.to_record(), "name": "Just enough"}).id
    ranks = mask.ranks()
    worst = divmod(int((ranks == 0).argmax()), 8)
    yield key, (worst[0], worst[1])
    db.close()


@pytest.mark.clock
def test_click_to_panel_is_quick(head: Page) -> None:
    """Median of clicks on the map to the title, with the model loaded: 300 ms is the bar."""
    times = []
    for layer, column in ((0, 1), (3, 3), (2, 4), (1, 6), (0, 5)):
        begin = time.monotonic()
        cell(head, layer, column).click()
        expect(head.locator("h1")).to_contain_text(f"Head {layer}.{column}")
        times.append(time.monotonic() - begin)
        expect(head.locator("#look-tokens")).to_contain_text(f"head {layer}.{column}")
    median = sorted(times)[2]
    print(f"click to panel {1000 * median:.0f} ms")
    assert median < 0.6
