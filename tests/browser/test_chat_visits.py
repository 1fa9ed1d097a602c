"""The chat page for several visitors, on a phone, and with a model of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from storage.chats import Chats
from storage.votes import Votes
from tests.browser.chat import (
    COMPRESSED,
    QUESTION,
    READY_MS,
    SHORT,
    answers,
    ask,
    database,
    ended,
    kept,
    open_chat,
    shown,
)
from tests.browser.conftest import Server
from tests.rlkv.dialogue.tokenisers import byte_level
from tests.rlkv.families import tiny
from ui.chat.kept import Kept

pytestmark = pytest.mark.browser
OTHER = "d=2; a=9; f:d+a; h:f-d; ?h"


def one_writes_and_one_waits(context: BrowserContext) -> tuple[Page, Page, Locator]:
    """Two tabs that have asked, the first being answered; -> both, and the turn of the second."""
    first, second = context.new_page(), context.new_page()
    open_chat(first, quick=False)
    open_chat(second)
    ask(first, QUESTION, wait=False)
    first.wait_for_function("() => +document.querySelector('.side').dataset.tokens > 2")
    return first, second, ask(second, OTHER, wait=False)


@pytest.mark.clock
@pytest.mark.slow
def test_two_tabs_wait_for_each_other_and_do_not_mix(
    context: BrowserContext, server: Server
) -> None:
    first, second, turn = one_writes_and_one_waits(context)
    expect(turn).to_contain_text("Waiting for the model: 1 before you")
    ended(first)
    ended(second)
    assert [node.text for node in kept(first, server) if node.role == "user"] == [QUESTION]
    assert [node.text for node in kept(second, server) if node.role == "user"] == [OTHER]
    assert first.locator(".side .answer").first.inner_text().strip() != ""
    expect(second.locator(".turn .bubble .words")).to_have_text(OTHER)


@pytest.mark.clock
@pytest.mark.slow
def test_stop_in_line_gives_the_question_back_and_the_next_one_is_answered(
    context: BrowserContext, server: Server
) -> None:
    first, second, turn = one_writes_and_one_waits(context)
    expect(turn).to_contain_text("before you")
    second.locator("#stop").click()
    expect(second.locator("#question textarea")).to_have_value(OTHER)
    expect(second.locator("#send")).to_be_enabled()
    expect(second.locator(".turn")).to_have_count(0)
    ask(second, SHORT, wait=False)  # the stopped question is still in line, before this one
    expect(first.locator("#stop")).to_be_enabled()
    ended(first)
    ended(second)
    assert [node.text for node in kept(second, server) if node.role == "user"] == [SHORT]


@pytest.mark.clock
@pytest.mark.slow
def test_closing_the_tab_ends_its_answer_and_keeps_what_there_was(
    context: BrowserContext, server: Server
) -> None:
    page = context.new_page()
    open_chat(page, quick=False)
    ask(page, QUESTION, wait=False)
    page.wait_for_function("() => +document.querySelector('.side').dataset.tokens > 5")
    page.close()
    other = context.new_page()
    open_chat(other)
    ask(other, SHORT)  # the model is free for the next one
    with database(server) as db:
        cut_off = Kept(Chats(db), Votes(db)).list()[1]
        (answer,) = Kept(Chats(db), Votes(db)).answers(cut_off.id)
    sides = answer.answer["sides"]
    assert all(side["now"]["stop"] == "stopped" for side in sides)
    assert 5 < sides[0]["now"]["tokens"] < 80


@pytest.mark.slow
def test_on_a_phone_one_side_is_shown_at_a_time_and_memory_stays_in_view(
    context: BrowserContext,
) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    open_chat(page, "/chat?__theme=dark")
    turn = ask(page, QUESTION)
    expect(turn.locator(".side").first).to_be_visible()
    expect(turn.locator(COMPRESSED)).to_be_hidden()
    turn.get_by_role("tab", name="Compressed").click()
    expect(turn.locator(COMPRESSED)).to_be_visible()
    expect(turn.locator(".side").first).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#long").scroll_into_view_if_needed()
    expect(page.locator(".mem svg")).to_be_in_viewport()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with a long context, one token a byte."""
    path = tmp_path_factory.mktemp("model")
    tiny(
        "llama", "stock", vocab_size=300, eos_token_id=257, max_position_embeddings=6000
    ).save_pretrained(path)
    byte_level().save_pretrained(path)
    return path


@pytest.mark.slow
def test_a_long_prompt_for_a_model_of_ones_own(page: Page, server: Server, folder: Path) -> None:
    open_chat(page)
    field = page.locator("#chat-model input")
    field.fill(str(folder))
    field.press("Enter")
    expect(page.locator("#chat-facts [data-fact=gates]")).to_have_text("3 x 4 = 12")
    # There is no mask for it: random heads are chosen, and it says so. None of another shape.
    expect(page.locator("#no-mask")).to_contain_text("No mask was learned for this model")
    expect(page.locator("#mask input")).to_have_value("Random heads")
    page.locator("#mask input").click()
    expect(page.get_by_role("option")).to_contain_text(["Random heads", "Full cache"])
    page.keyboard.press("Escape")
    page.locator("#sampling button").first.click()
    page.locator("#longest input").fill("40")
    page.locator("#long button").first.click()
    expect(page.locator("#fill-3")).to_be_enabled()
    expect(page.locator("#fill-4")).to_be_disabled()
    expect(page.locator("#fill-note")).to_contain_text("exceed the 6,000 that it reads")
    page.locator("#fill-3").click()
    note = page.locator("#fill-note [data-filled]")
    expect(note).to_be_visible(timeout=READY_MS)
    tokens = int(note.get_attribute("data-filled") or 0)
    assert 4096 - 100 < tokens <= 4096
    expect(page.locator("#question textarea")).to_have_value(
        re.compile(r"secret number of .* is \d{5}\.[\s\S]*What is the secret number")
    )
    page.locator("#send").click()
    expect(page.locator(".turn")).to_have_count(1)
    ended(page)
    turn = page.locator(".turn")
    expect(turn.locator(".bubble")).to_contain_text("Show all")
    full, compressed = (shown(turn.locator(".side").nth(i)) for i in (0, 1))
    assert full["length"] == compressed["length"] == tokens + full["tokens"] - 1
    kept_sides = answers(page, server)[0]["sides"]
    assert [s["now"]["prompt"] for s in kept_sides] == [tokens, tokens]
    # Half of the heads hold 80 tokens of 4,096: very nearly half is saved.
    assert 0.47 < 1 - compressed["bytes"] / full["bytes"] < 0.53
    assert compressed["bytes"] == kept_sides[1]["now"]["bytes"]
