"""The chat page: two answers, token by token, with measured memory."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

from rlkv.masks import HeadMask
from rlkv.tasks.tracing import solve
from storage.chats import Chats
from storage.database import open_database
from storage.masks import Masks
from tests.browser.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.clock]

QUESTION = "f=3; j=4; b=9; h:f+j; d:h-b; a:d+d; e:a-f; c:e+h; ?c"


@pytest.fixture
def chat(page: Page, server: Server) -> Page:
    """The page with a mask that compresses half of the heads, and the model loaded."""
    db = open_database(server.folder)
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16, model="tracer")
    key = Masks(db).save(mask.to_record()).id
    db.close()
    page.goto(f"/chat?mask={key}")
    page.locator("#question textarea").fill(QUESTION)
    expect(page.locator("#race .side.full")).to_be_visible()
    return page


def held(page: Page, side: str) -> int:
    cell = page.locator(f"#race .side.{side} [data-figure=bytes]")
    return int(cell.get_attribute("data-bytes") or 0)


def points(page: Page, side: str) -> int:
    line = page.locator(f"#race svg .line.{side}")
    return int(line.get_attribute("data-points") or 0) if line.count() else 0


def tokens(page: Page, side: str) -> int:
    text = page.locator(f"#race .side.{side} [data-figure=n]").inner_text()
    return int(text) if text.isdigit() else 0


def test_both_sides_stream_and_the_compressed_one_holds_less(chat: Page, server: Server) -> None:
    chat.get_by_role("button", name="Send").click()
    chat.wait_for_selector("#race svg .line.compressed")
    # Both in one go, while both run: the page goes on between two questions to the browser.
    both = chat.evaluate(
        "() => ['full', 'compressed'].map(name => document.querySelector(`#race .side.${name}`))"
        ".map(side => [Number(side.querySelector('[data-figure=n]').textContent) || 0,"
        " side.dataset.stop || ''])"
    )
    (full, full_ended), (compressed, compressed_ended) = both
    assert full_ended or compressed_ended or abs(full - compressed) <= 1  # in lockstep
    first = points(chat, "full"), tokens(chat, "full")
    chat.wait_for_function(
        "n => Number(document.querySelector('#race svg .line.full').dataset.points) > n + 5",
        arg=first[0],
    )
    assert tokens(chat, "full") > first[1]
    expect(chat.locator("#race .side.full")).to_have_attribute("data-stop", "end")
    expect(chat.locator("#race .side.full .answer")).to_contain_text(solve(QUESTION)[1])
    expect(chat.locator("#race .side.full .verdict")).to_have_text("✓ right")
    assert 0 < held(chat, "compressed") < held(chat, "full")
    expect(chat.locator("#race [data-figure=saved]")).to_contain_text("% KV saved")
    expect(chat.get_by_role("button", name="Send")).to_be_enabled()
    assert_kept(chat, server)


def assert_kept(page: Page, server: Server) -> None:
    """The comparison is in the database, with the numbers of the screen."""
    db = open_database(server.folder)
    chats = Chats(db)
    question, full, compressed = chats.get(chats.list()[0].id).messages
    db.close()
    assert question.content == QUESTION
    assert full.stats["kv_bytes"] == held(page, "full")
    assert compressed.stats["kv_bytes"] == held(page, "compressed")


def test_stop_works_at_once(chat: Page) -> None:
    chat.get_by_role("button", name="Send").click()
    chat.wait_for_selector("#race svg .line.compressed")
    pressed = time.monotonic()
    chat.get_by_role("button", name="Stop").click()
    expect(chat.locator("#race .side.full")).to_have_attribute("data-stop", "stopped")
    assert time.monotonic() - pressed < 1.0
    count = tokens(chat, "full")
    chat.wait_for_timeout(700)
    assert tokens(chat, "full") == count
    # The model is free again.
    chat.get_by_role("button", name="Send").click()
    expect(chat.locator("#race .side.full")).to_have_attribute("data-stop", "end")


def test_words_that_the_model_can_not_read_get_a_hint(chat: Page) -> None:
    chat.locator("#question textarea").fill("What is <b>love</b>?")
    chat.get_by_role("button", name="Send").click()
    toast = chat.locator(".toast-body")
    expect(toast).to_contain_text("The embedded model has no token for")
    expect(toast).to_contain_text("<b>love</b>?")  # as text, not as markup
    expect(chat.get_by_role("button", name="Send")).to_be_enabled()


def test_what_a_model_writes_stays_text(chat: Page) -> None:
    hostile = "<think><img src=x onerror=alert(1)></think><b id=bold>9</b>"
    chat.evaluate(
        """text => {
          const side = role => ({role, label: role, short: role, hint: text, text, n: 2,
            seconds: 1, bytes: 1024, stop: 'end', right: null});
          rlkvRace.mount(document.querySelector('#race .race'))(
            {sides: [side('full'), side('compressed')], curves: [[[1, 9]], [[1, 9]]], agree: text});
        }""",
        hostile,
    )
    expect(chat.locator("#race .side.full .answer")).to_have_text("<b id=bold>9</b>")
    assert chat.locator("#race img, #bold").count() == 0


def test_a_random_problem_is_a_fresh_one_that_can_be_solved(chat: Page) -> None:
    seen = set()
    for _ in range(2):
        before = chat.locator("#question textarea").input_value()
        chat.get_by_role("button", name="New random problem").click()
        expect(chat.locator("#question textarea")).not_to_have_value(before)
        seen.add(chat.locator("#question textarea").input_value())
    assert len(seen) == 2
    assert all(solve(problem) for problem in seen)
