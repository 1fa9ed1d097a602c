"""Long prompts on the chat page: what they are filled to, and what is said of them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from rlkv.dialogue import Message, SideSpec, converse
from rlkv.generation import Sampling
from rlkv.models import load_model
from tests.browser.chat import answers, ended, open_chat, read_bytes, shown
from tests.browser.conftest import Server
from ui.catalogue import shipped

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LONGEST = 24
"""Tokens of the answer: what is looked at is the reading."""
PATIENCE_MS = 200_000
"""Two sides read 4,096 tokens, on a machine that does other things."""


def test_at_4k_the_embedded_model_shows_bytes_far_apart(page: Page, server: Server) -> None:
    open_chat(page)
    page.locator("#sampling button").first.click()
    page.locator("#longest input").fill(str(LONGEST))
    page.locator("#long button").first.click()
    expect(page.locator("#fill-note")).to_contain_text("beyond what this model was trained on")
    expect(page.locator("#fill-3")).to_have_text("4,096")
    # The longest prompt leaves room for the answer, and says how long it then is.
    expect(page.locator("#fill-5")).to_have_text(f"{32768 - LONGEST:,}")
    expect(page.locator("#fill-5")).to_be_enabled()
    page.locator("#fill-3").click()
    note = page.locator("#fill-note [data-filled]")
    expect(note).to_contain_text("beyond what this model was trained on: look at the memory")
    tokens = int(note.get_attribute("data-filled") or 0)
    assert 4096 - 10 < tokens <= 4096
    page.locator("#send").click()
    expect(page.locator(".turn")).to_have_count(1)
    ended(page, PATIENCE_MS)
    turn, (kept,) = page.locator(".turn"), answers(page, server)
    full, compressed = (shown(turn.locator(".side").nth(i)) for i in (0, 1))
    assert [s["now"]["prompt"] for s in kept["sides"]] == [tokens, tokens]
    assert [s["now"]["bytes"] for s in kept["sides"]] == [full["bytes"], compressed["bytes"]]
    mask = shipped()
    assert mask is not None
    assert compressed["bytes"] < (1 - mask.sparsity + 0.05) * full["bytes"]
    read = [read_bytes(turn.locator(".side").nth(i).locator("[data-figure=bytes]")) for i in (0, 1)]
    assert read == pytest.approx([full["bytes"], compressed["bytes"]], rel=0.005)
    expect(turn.locator(".setup")).to_contain_text("beyond the 1,024 tokens that it was trained on")


def test_what_is_read_beyond_is_what_the_engine_reads(page: Page, server: Server) -> None:
    """At 1,024 tokens and an answer, just beyond: the page's bytes are those of the engine."""
    open_chat(page)
    page.locator("#sampling button").first.click()
    page.locator("#longest input").fill(str(LONGEST))
    page.locator("#long button").first.click()
    page.locator("#fill-2").click()
    expect(page.locator("#fill-note [data-filled]")).to_be_visible()
    page.locator("#send").click()
    expect(page.locator(".turn")).to_have_count(1)
    ended(page)
    question = page.evaluate("() => document.querySelector('.talk').rlkv.turns[0].data.user.text")
    history = (Message("user", question),)
    specs = [SideSpec(None, history), SideSpec(shipped(), history)]
    *_, frame = converse(*load_model("tracer"), specs, Sampling(LONGEST), context=32768)
    for i, state in enumerate(frame.sides):
        said = shown(page.locator(".turn .side").nth(i))
        assert (said["length"], said["bytes"]) == (state.length, state.kv_bytes)
    assert frame.sides[0].length > 1024
