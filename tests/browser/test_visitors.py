"""Two visitors of a Space in one browser: each finds what they kept, and nothing of the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect

from rlkv.masks import HeadMask
from tests.browser.chat import QUESTION, SHORT, ask, open_chat
from tests.browser.conftest import Server, Watch

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LINKS = [
    HeadMask.random(4, 8, sparsity=0.5, seed=seed, model="tracer").to_link() for seed in range(2)
]
MINE = "#shelf .mask:has([data-do=remove])"
"""Masks that whoever looks may change."""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("space"), SPACE_ID="somebody/rlkv")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def visitors(
    browser: Browser, space: Server, watch: Watch
) -> Iterator[tuple[BrowserContext, BrowserContext]]:
    both = [browser.new_context(base_url=space.url) for _ in range(2)]
    for one in both:
        one.set_default_timeout(20_000)
        one.on("page", watch.attach)
    yield both[0], both[1]
    for one in both:
        one.close()
    assert watch.errors == []


def keep_mask(page: Page | FrameLocator) -> None:
    page.locator("#link-keep").click()
    expect(page.locator("#link-banner")).to_be_hidden()


@contextmanager
def frame_of(inner: str) -> Iterator[str]:
    """Another site whose pages hold those of the app in a frame, as the Hub shows a Space."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            style = "width:1300px;height:800px"
            self.wfile.write(f'<iframe src="{inner}{self.path}" style="{style}"></iframe>'.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_each_visitor_finds_what_they_kept(
    visitors: tuple[BrowserContext, BrowserContext],
) -> None:
    ann, bob = (one.new_page() for one in visitors)
    open_chat(ann)
    ask(ann, SHORT)
    expect(ann.locator("#chat-list")).to_contain_text(SHORT)
    left = ann.locator("#tally [data-seconds-left]")
    assert 0 < float(left.get_attribute("data-seconds-left") or 0) < 600
    chat = ann.locator("#talk .talk").get_attribute("data-chat")
    ann.goto(f"/heads?mask={LINKS[0]}")
    keep_mask(ann)
    ann.goto("/masks")
    expect(ann.locator(MINE)).to_have_count(1)

    open_chat(bob, f"/chat?chat={chat}")
    expect(bob.locator(".turn")).to_have_count(0)
    expect(bob.locator("#chat-list")).not_to_contain_text(SHORT)
    bob.goto("/masks")
    expect(bob.locator("#shelf .mask").first).to_be_visible()
    expect(bob.locator(MINE)).to_have_count(0)

    ann.locator(MINE).locator("[data-do=remove]").click()
    expect(ann.locator(MINE)).to_have_count(0)
    ann.locator("#undo-delete [data-do=restore]").click()
    expect(ann.locator(MINE)).to_have_count(1)
    again = visitors[0].new_page()
    open_chat(again, f"/chat?chat={chat}")
    expect(again.locator(".turn .bubble .words")).to_have_text(SHORT)


def test_an_answer_whose_page_was_closed_is_kept_for_its_visitor(
    visitors: tuple[BrowserContext, BrowserContext],
) -> None:
    ann, bob = (one.new_page() for one in visitors)
    open_chat(ann, quick=False)
    ask(ann, QUESTION, wait=False)
    ann.wait_for_function("() => +document.querySelector('.side').dataset.tokens > 5")
    ann.close()
    again = open_chat(visitors[0].new_page())
    for _ in range(20):
        if again.locator("#chat-list").get_by_text(QUESTION[:20]).count():
            break
        again.wait_for_timeout(500)
        open_chat(again)
    expect(again.locator("#chat-list")).to_contain_text(QUESTION[:20])
    open_chat(bob)
    expect(bob.locator("#chat-list")).not_to_contain_text(QUESTION[:20])


def test_in_a_frame_of_another_site_a_visitor_is_known_again(
    visitors: tuple[BrowserContext, BrowserContext], space: Server
) -> None:
    page = visitors[0].new_page()
    address = f"/heads?mask={LINKS[1]}"
    with frame_of(space.url) as outer:
        page.goto(outer + address)
        keep_mask(page.frame_locator("iframe"))
        page.goto(f"{outer}/masks")
        expect(page.frame_locator("iframe").locator(MINE)).to_have_count(1)
    own = visitors[0].new_page()  # the same address, but not within that site: another visitor
    own.goto("/masks")
    expect(own.locator("#shelf .mask").first).to_be_visible()
    expect(own.locator(MINE)).to_have_count(0)
