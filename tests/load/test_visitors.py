"""Twenty open pages on two cores, four of them chatting at once, while a training goes on.

Four pages are real ones in Chromium, two of which chat. The other sixteen speak Gradio's HTTP as a
page's script does (`session.py`). `RLKV_PAGES=20` makes all twenty real, each in a browser context
of its own: Chromium then takes most of both cores.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import rlkv
from rlkv.dialogue import Message, Sampling, SideSpec, converse
from rlkv.masks import HeadMask
from rlkv.shipped import EXAMPLES
from storage.database import Database, open_database
from storage.jobs import Jobs
from storage.metrics import Metrics
from tests.browser.chat import open_chat
from tests.browser.conftest import Watch
from tests.load.session import Session
from tests.load.stage import started

REAL = int(os.environ.get("RLKV_PAGES", "4"))
"""How many of the pages are real: the first ones."""
pytestmark = [
    pytest.mark.slow, pytest.mark.clock, pytest.mark.browser,
    pytest.mark.timeout(300 if REAL <= 4 else 900),
]  # fmt: skip
QUESTIONS = [
    "c=7; b=6; e:c-b; k:c-e; ?k",
    "d=2; a=9; f:d+a; h:f-d; b:h-a; ?b",
    "l=5; g=8; c=1; a:l+g; k:a-c; e:k+g; i:e-a; ?i",
    "f=3; j=4; b=9; h:f+j; d:h-b; a:d+d; e:a-f; c:e+h; ?c",
]
"""One for each page that chats."""
PAGES = [
    "/chat", "/chat", "/train", "/train", "/chat", "/chat",
    *["/train"] * 8, *["/evaluate"] * 4, "/heads", "/masks",
]  # fmt: skip
TICK_S = 1.0
PATIENCE_MS = 90_000


class Crowd:
    """The pages without a browser, in a thread with an event loop of its own."""

    def __init__(self, url: str, pages: Sequence[str], questions: Sequence[str]) -> None:
        self.url, self.pages, self.questions = url, pages, questions
        self.times: list[float] = []
        self.answers: list[list[dict[str, Any]]] = []
        self.places: list[list[int]] = [[] for _ in questions]
        self._loaded = 0
        self.failure: BaseException | None = None
        self.ready, self.go, self.over = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.go.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self.failure = error
        finally:
            self.ready.set()

    async def _all(self) -> None:
        waiting = asyncio.gather(*(self._look(page) for page in self.pages if page != "/chat"))
        chats = (self._chat(n) for n in range(len(self.questions)))
        self.answers = list(await asyncio.gather(*chats))
        await waiting

    def _one_more(self) -> None:
        self._loaded += 1
        if self._loaded == len(self.pages):
            self.ready.set()

    async def _look(self, page: str) -> None:
        async with Session.open(self.url, page) as session:
            self._one_more()
            while not self.over.is_set():
                if self.go.is_set():
                    await session.tick()
                await asyncio.sleep(TICK_S)
            self.times += session.times

    async def _chat(self, n: int) -> list[dict[str, Any]]:
        async with Session.open(self.url, "/chat") as session:
            session.set("slowly", True)
            self._one_more()
            while not self.go.is_set():
                await asyncio.sleep(0.05)
            places = self.places[n]
            sides = await session.chat(
                self.questions[n],
                lambda got: places.append(got["place"]) if got["state"] == "waiting" else None,
            )
            self.times += session.times
            return sides


@contextmanager
def training(db: Database) -> Iterator[str]:
    """A job that reports four steps a second."""
    job = Jobs(db).create("train", {}, title="Load", total_steps=10_000, claimed_by=os.getpid())
    metrics, over = Metrics(db), threading.Event()

    def report() -> None:
        step = 0
        while not over.wait(0.25):
            step += 1
            metrics.log(job.id, step, {"reward": 0.5, "gate_mean": 0.7, "step_seconds": 0.25})
            metrics.add_snapshot(job.id, step, bytes(4 * 32), 4, 8)
            Jobs(db).heartbeat(job.id, step=step)

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield job.id
    finally:
        over.set()
        thread.join()


def alone(question: str) -> list[str]:
    """What both sides write where nobody else asks; the prompt has begun the thought."""
    model, tokenizer = rlkv.load_model("tracer")
    mask = HeadMask.load(EXAMPLES / "masks" / "tracer").at_sparsity(0.5)
    said = (Message("user", question),)
    *_, last = converse(
        model, tokenizer, [SideSpec(None, said), SideSpec(mask, said)], Sampling(256)
    )
    return [side.text.removeprefix("<think>") for side in last.sides]


def ask(page: Page, question: str) -> None:
    page.locator("#question textarea").fill(question)
    page.locator("#question textarea").press("Enter")
    expect(page.locator(".turn")).to_have_count(1)


WATCHING = """performance.setResourceTimingBufferSize(100000);
window.frames_s = [];
setInterval(() => {
  const asked = performance.now();
  requestAnimationFrame(() => setTimeout(
    () => window.frames_s.push((performance.now() - asked) / 1000)));
}, 500);"""
"""Every half second: how long the page takes to draw a frame."""
UPDATES = """performance.getEntriesByType('resource')
  .filter(e => /run\\/predict|component_server/.test(e.name)).map(e => e.duration / 1000)"""
WRITTEN = """() => document.querySelector('#talk').querySelector('.talk').rlkv.turns[0]
  .sides.map(side => side.cols.t.join(''))"""


@dataclass
class Seen:
    """What happened in the real pages."""

    shown: list[list[str]]
    updates: list[float]
    """Seconds of every request of a page for what is new."""
    frames: list[float]


def test_twenty_pages_and_four_chats(browser: Browser, tmp_path: Path) -> None:
    real, others = PAGES[:REAL], PAGES[REAL:]
    first = real.count("/chat")
    asked = [*QUESTIONS[4 - first :], *QUESTIONS[: 4 - first]]
    expected = [alone(question) for question in asked]
    assert len({answer for both in expected for answer in both}) >= len(QUESTIONS)
    watch = Watch()
    with started(tmp_path) as server, ExitStack() as stack:
        db = open_database(tmp_path)
        stack.callback(db.close)
        job = stack.enter_context(training(db))
        crowd = stack.enter_context(Crowd(server.url, others, asked[first:]))
        contexts = [browser.new_context(base_url=server.url) for _ in real]
        seen = in_chromium(contexts, watch, job, crowd, asked[:first])
        for context in contexts:
            context.close()
    assert watch.outside == []
    assert watch.errors == []
    streamed = seen.shown + [["".join(side["t"]) for side in sides] for sides in crowd.answers]
    assert streamed == expected
    print(f"{REAL} pages in Chromium: {told(seen.updates)} an update, {told(seen.frames)} a frame")
    assert median(seen.updates) < 0.5
    assert median(seen.frames) < 0.5
    if others:
        places = [max(line, default=0) for line in crowd.places]
        print(f"{len(others)} sessions: {told(crowd.times)} an update, places {places}")
        assert median(crowd.times) < 0.5
        assert max(places, default=1) >= 1


def in_chromium(
    contexts: Sequence[BrowserContext], watch: Watch, job: str, crowd: Crowd, asked: Sequence[str]
) -> Seen:
    """Opens the real pages, lets all chats begin at once, and looks until they are over."""
    pages = [
        opened(context, path, watch, job) for context, path in zip(contexts, PAGES, strict=False)
    ]
    chats = [page for page, path in zip(pages, PAGES, strict=False) if path == "/chat"]
    assert crowd.ready.wait(120) or not crowd.pages
    crowd.go.set()
    for page, question in zip(chats, asked, strict=True):
        ask(page, question)
    expect(chats[-1].locator(".turn")).to_contain_text("before you", timeout=60_000)
    for page in chats:
        expect(page.locator("#talk .talk")).to_have_attribute(
            "data-state", "done", timeout=PATIENCE_MS
        )
    shown = [page.evaluate(WRITTEN) for page in chats]
    time.sleep(3)  # the others look on
    return Seen(
        shown,
        [seconds for page in pages for seconds in page.evaluate(UPDATES)],
        [seconds for page in pages for seconds in page.evaluate("window.frames_s")],
    )


def opened(context: BrowserContext, path: str, watch: Watch, job: str) -> Page:
    """A page of a visitor of its own, drawn; on Train the job is the one that is under way."""
    context.on("page", watch.attach)
    context.add_init_script(WATCHING)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    if path == "/chat":
        return open_chat(page, quick=False)
    page.goto(f"/train?job={job}" if path == "/train" else path)
    if path == "/train":
        expect(page.locator(".live-top")).to_have_attribute("data-job", job, timeout=PATIENCE_MS)
    return page


def told(seconds: Sequence[float]) -> str:
    """How many there were, their median, and what 19 of 20 keep under."""
    late = quantiles(seconds, n=20)[-1]
    return f"{len(seconds)} times median {1000 * median(seconds):.0f} ms, 95 % {1000 * late:.0f} ms"
