"""What a visitor sees who asks where the line of a shared copy is full."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chat import SHORT, open_chat
from tests.load.stage import started
from tests.ui.test_waiting import kept_full

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]


def test_the_page_says_so_and_keeps_the_question(browser: Browser, tmp_path: Path) -> None:
    with started(tmp_path, RLKV_SHARED="1") as server:
        context = browser.new_context(base_url=server.url)
        page = open_chat(context.new_page())
        with kept_full(server.url):
            page.locator("#question textarea").fill(SHORT)
            page.locator("#send").click()
            expect(page.locator(".toast-wrap")).to_contain_text("try again in a few minutes")
            expect(page.locator("#question textarea")).to_have_value(SHORT)
            expect(page.locator("#send")).to_be_enabled()
            expect(page.locator(".turn")).to_have_count(0)
        context.close()
