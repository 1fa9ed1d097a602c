"""A GGUF file of one's own: picked by its path, loaded, asked, with both sides' bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import answers, ended, open_chat, shown
from tests.browser.conftest import Server
from tests.rlkv.tiny_gguf import write_gguf

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_gguf_file_is_picked_and_answers(page: Page, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    open_chat(page)
    field = page.locator("#chat-model input")
    field.fill(str(path))
    field.press("Enter")
    fact = page.locator("#chat-facts")
    expect(fact.locator("[data-fact=gates]")).to_have_text("3 x 4 = 12")
    expect(fact.locator("[data-fact=place]")).to_have_text("a file here")
    expect(fact.locator("[data-fact=need]")).to_contain_text(": fits")
    page.locator("#chat-load").click()
    state = page.locator("#chat-state [data-state]")
    expect(state).to_have_attribute("data-state", "ready", timeout=60_000)
    page.locator("#sampling button").first.click()
    page.locator("#longest input").fill("30")
    page.locator("#question textarea").fill("What is the sum of the sea and the sky?")
    page.locator("#send").click()
    expect(page.locator(".turn")).to_have_count(1)
    ended(page)
    full, compressed = (shown(page.locator(".turn .side").nth(i)) for i in (0, 1))
    assert full["tokens"] > 0
    kept = answers(page, server)[0]
    assert kept["model"] == str(path)
    assert [s["now"]["bytes"] for s in kept["sides"]] == [full["bytes"], compressed["bytes"]]
    page.locator("#chat-unload").click()
    expect(state).to_have_attribute("data-state", "absent")
