"""The repository as a Space: two visitors walk through it, it ends, and begins again elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.jobs import Jobs
from storage.snapshots import listed
from tests.browser.chat import SHORT, ask, open_chat
from tests.browser.head_map import drag, grid
from tests.space.conftest import Life
from tests.space.stage import SPACE_ID, Space

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
SLOW_MS = 60_000
COLD_START_S = 15.0
NO_RELOADER = "RuntimeError: `spaces` package is required to run hot-reloading in Spaces"
"""A thread of Gradio's says so; on a real Space that package is there."""


def visitor(browser: Browser) -> BrowserContext:
    """A browser with cookies and storage of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SLOW_MS)
    return context


def first_screen(page: Page, space: Space) -> None:
    """Opens the Overview and waits until its comparison moves."""
    page.goto(f"{space.url}/")
    expect(page.locator("#overview-map [data-kept=true]").first).to_be_visible(timeout=SLOW_MS)
    thought = page.locator("#recording .side.full .thought")
    expect(thought).not_to_be_empty(timeout=SLOW_MS)
    page.wait_for_function(
        "first => document.querySelector('#recording .side.full .thought').innerText !== first",
        arg=thought.inner_text(),
    )


def keep_a_mask(page: Page, space: Space, name: str) -> str:
    """Paints three heads on the Heads page and saves the mask; its id."""
    page.goto(f"{space.url}/heads")
    grid(page).wait_for()
    page.get_by_label("Edit: drag over cells").check()
    expect(grid(page)).to_have_attribute("aria-readonly", "false")
    drag(page, (3, 5), (3, 7))
    page.locator("#name input, #name textarea").fill(name)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#mask input")).to_have_value(re.compile(f"^{name}"), timeout=SLOW_MS)
    expect(page).to_have_url(re.compile("mask="))
    return page.url.rpartition("mask=")[2].partition("&")[0]


def sees_mask(page: Page, space: Space, key: str) -> bool:
    """Whether the library shows it, once the library is there."""
    page.goto(f"{space.url}/masks")
    page.locator(".masks [data-key=shipped]").wait_for()
    return page.locator(f".masks [data-key='{key}']").count() > 0


def defects(space: Space) -> list[str]:
    """Last lines of the traces in the log."""
    return re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception): .*$", space.log, re.M)


def conversations(page: Page, space: Space) -> list[str]:
    """The titles of those that the visitor sees."""
    open_chat(page, f"{space.url}/chat")
    page.locator(".chats > li").first.wait_for()
    return page.locator(".chats [data-chat] b").all_inner_texts()


@pytest.mark.slow
def test_two_visitors_a_restart_and_an_empty_disk(life: Life, browser: Browser) -> None:
    space = life()
    one, other = visitor(browser), visitor(browser)
    page, page_of_other = one.new_page(), other.new_page()

    first_screen(page, space)
    open_chat(page, f"{space.url}/chat")
    turn = ask(page, SHORT)
    expect(turn.locator(".side .answer").first).not_to_be_empty()

    page.goto(f"{space.url}/train")
    button = page.get_by_role("button", name="Start", exact=True)
    expect(button).to_be_disabled()
    page.evaluate("document.querySelector('#start').disabled = false")
    button.click()
    expect(page.locator(".toast-body")).to_contain_text("Training is switched off")

    key = keep_a_mask(page, space, "Mine")
    assert sees_mask(page, space, key)
    assert not sees_mask(page_of_other, space, key)
    talked = conversations(page, space)
    assert len(talked) == 1
    assert conversations(page_of_other, space) == []

    assert space.data.is_dir(), space.log  # on the local disk, with a home that can't be made
    assert space.terminate() == 0
    assert listed(space.bucket), space.log

    again = life()
    db = open_database(again.data)
    assert db.check() == []
    assert not Jobs(db).list()
    db.close()
    assert sees_mask(page, again, key)
    assert not sees_mask(page_of_other, again, key)
    assert conversations(page, again) == talked
    assert defects(space) == defects(again) == [NO_RELOADER]
    for context in (one, other):
        context.close()


API = """
from gradio_client import Client
app = Client("{url}", verbose=False)
print([mask["key"] for mask in app.predict(api_name="/list_masks")])
"""


@pytest.mark.slow
@pytest.mark.parametrize("home", [False, True], ids=["no-home", "empty-home"])
def test_masks_travel_over_a_space(
    life: Life, browser: Browser, tmp_path: Path, home: bool
) -> None:
    space = life(home=home)
    one, other = visitor(browser), visitor(browser)
    page, page_of_other = one.new_page(), other.new_page()
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=5, model="tracer", name="From a file")

    page.goto(f"{space.url}/masks")
    page.locator(".masks [data-key=shipped]").wait_for()
    page.locator("#files input[type=file]").set_input_files(mask.save_zip(tmp_path / "m.zip"))
    page.locator("#imports").get_by_role("button", name="Keep").click()
    expect(page.locator(".masks")).to_contain_text("imported from m.zip", timeout=SLOW_MS)

    page_of_other.goto(f"{space.url}/heads?mask={mask.to_link()}")
    expect(page_of_other.locator("#link-banner")).to_contain_text("not kept here", timeout=SLOW_MS)
    expect(grid(page_of_other).locator("[data-kept=true]")).to_have_count(16, timeout=SLOW_MS)
    page_of_other.goto(f"{space.url}/masks")
    page_of_other.locator(".masks [data-key=shipped]").wait_for()
    expect(page_of_other.locator(".masks")).not_to_contain_text("imported from m.zip")

    copy = f"https://huggingface.co/spaces/{SPACE_ID}?duplicate=true"
    for address in ("/", "/heads"):
        page.goto(f"{space.url}{address}")
        link = page.locator(f"a[href='{copy}']").first
        expect(link).to_be_visible(timeout=SLOW_MS)

    script = [sys.executable, "-c", API.format(url=space.url)]  # on the machine of a visitor
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert "'shipped'" in done.stdout, done.stderr
    assert space.data.is_dir(), space.log
    assert defects(space) == [NO_RELOADER]
    for context in (one, other):
        context.close()


@pytest.mark.clock
@pytest.mark.slow
def test_a_cold_start_takes_less_than_fifteen_seconds(life: Life, browser: Browser) -> None:
    """From the start of the process to a first screen that moves, on two cores."""
    context = visitor(browser)
    space = life()
    first_screen(context.new_page(), space)
    took = time.monotonic() - space.began
    context.close()
    print(f"cold start: {took:.1f} s")
    assert took < COLD_START_S
    # What makes it a Space: nothing but its own disk can be written.
    assert "PermissionError" in space.run("open('left-behind', 'w')").stderr
    made = space.run("import pathlib; pathlib.Path.home().mkdir(parents=True)")
    assert "NotADirectoryError" in made.stderr
