"""What a visitor sees who asks where the line of a shared copy is full."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chat import SHORT, open_chat
from tests.load.stage import started
from tests.ui.test_waiting import kept_full

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]


def test_the_page_says_so_and_keeps_the_question_which_may_be_asked_again(
    browser: Browser, tmp_path: Path
) -> None:
    with started(tmp_path, RLKV_SHARED="1") as server:
        context = browser.new_context(base_url=server.url)
        page = open_chat(context.new_page())
        with kept_full(server.url):
            page.locator("#question textarea").fill(SHORT)
            said = page.locator(".toast-body", has_text="try again in a few minutes")
            for _ in range(2):  # a question that was not let in must not block the next one
                page.locator("#send").click()
                expect(said).to_have_count(1)
                page.locator(".toast-close").click()
                expect(said).to_have_count(0)
                expect(page.locator("#question textarea")).to_have_value(SHORT)
                expect(page.locator("#send")).to_be_enabled()
            expect(page.locator(".turn")).to_have_count(0)
        context.close()
