"""An answer that fills the machine's memory ends with a message, and the app goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from rlkv.headroom import FRESH_S
from tests.browser.chat import COMPRESSED, QUESTION, SHORT, ask, ended, open_chat
from tests.browser.conftest import Watch, watched
from tests.browser.full_machine import FULL
from tests.browser.gallery import serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WORDS = "stopped: this machine's memory is nearly full"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serve(folder, "tests.browser.full_machine") as url:
        yield url


@pytest.fixture
def page(browser: Browser, address: str, watch: Watch) -> Iterator[Page]:
    with watched(browser, address, watch) as context:
        yield context.new_page()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    (folder / FULL).touch()
    try:
        yield
    finally:
        (folder / FULL).unlink()
        time.sleep(2 * FRESH_S)  # what was read of the memory is believed for so long


def goes_on(page: Page) -> None:
    """The next question is answered as ever."""
    page.locator("#slowly input").uncheck()
    turn = ask(page, SHORT)
    for i in (0, 1):
        expect(turn.locator(".side").nth(i)).to_have_attribute("data-stop", "end")


def test_an_answer_without_room_ends_with_a_message_and_is_kept(page: Page, folder: Path) -> None:
    open_chat(page, quick=False)
    turn = ask(page, QUESTION, wait=False)
    page.wait_for_function("() => +document.querySelector('.side.s-comp').dataset.tokens > 5")
    with full(folder):
        ended(page)
        for i in (0, 1):
            expect(turn.locator(".ended").nth(i)).to_have_text(WORDS)
    written = int(turn.locator(COMPRESSED).get_attribute("data-tokens") or 0)
    assert 5 < written < 80
    chat = page.locator("#talk .talk").get_attribute("data-chat")
    goes_on(page)
    page.goto(f"/chat?chat={chat}")  # kept, with what was written and why it ended
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.locator(".turn").first.locator(".ended").first).to_have_text(WORDS)
    expect(page.locator(".turn").first.locator(f"{COMPRESSED} .tk[data-i]")).to_have_count(written)


def test_a_question_that_finds_no_room_is_given_back_with_a_message(
    page: Page, folder: Path
) -> None:
    open_chat(page)
    with full(folder):
        page.locator("#question textarea").fill(QUESTION)
        page.locator("#question textarea").press("Enter")
        toast = page.locator(".toast-body")
        expect(toast).to_contain_text("memory is nearly full")
        expect(toast).to_contain_text(re.compile("shorter|unload", re.IGNORECASE))
        expect(page.locator("#send")).to_be_enabled()
        expect(page.locator("#question textarea")).to_have_value(QUESTION)
        expect(page.locator(".turn")).to_have_count(0)
    goes_on(page)
