"""Twenty open pages on two cores, four of them chatting at once, while a training goes on.

Four pages are real ones in Chromium, two of which chat. The other sixteen speak Gradio's HTTP as a
page's script does (`session.py`): twenty browsers would measure the browsers.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
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

pytestmark = [
    pytest.mark.slow, pytest.mark.clock, pytest.mark.browser, pytest.mark.timeout(300),
]  # fmt: skip
QUESTIONS = [
    "c=7; b=6; e:c-b; k:c-e; ?k",
    "d=2; a=9; f:d+a; h:f-d; b:h-a; ?b",
    "l=5; g=8; c=1; a:l+g; k:a-c; e:k+g; i:e-a; ?i",
    "f=3; j=4; b=9; h:f+j; d:h-b; a:d+d; e:a-f; c:e+h; ?c",
]
"""One for each page that chats; the last two are asked in Chromium."""
LIVE = ["/train"] * 8 + ["/evaluate"] * 4 + ["/heads", "/masks"]
TICK_S = 1.0


class Crowd:
    """The sixteen pages without a browser, in a thread with an event loop of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.times: list[float] = []
        self.answers: list[list[dict[str, Any]]] = []
        self.places: list[list[int]] = [[], []]
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
        waiting = asyncio.gather(*(self._look(page) for page in LIVE))
        self.answers = list(await asyncio.gather(*(self._chat(n) for n in (0, 1))))
        await waiting

    async def _look(self, page: str) -> None:
        async with Session.open(self.url, page) as session:
            while not self.over.is_set():
                if self.go.is_set():
                    await session.tick()
                await asyncio.sleep(TICK_S)
            self.times += session.times

    async def _chat(self, n: int) -> list[dict[str, Any]]:
        async with Session.open(self.url, "/chat") as session:
            session.set("slowly", True)
            if n:
                self.ready.set()
            while not self.go.is_set():
                await asyncio.sleep(0.05)
            places = self.places[n]
            sides = await session.chat(
                QUESTIONS[n],
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


UPDATES = """performance.getEntriesByType('resource')
  .filter(e => /run\\/predict|component_server/.test(e.name)).map(e => e.duration / 1000)"""
WRITTEN = """() => document.querySelector('#talk').querySelector('.talk').rlkv.turns[0]
  .sides.map(side => side.cols.t.join(''))"""


def test_twenty_pages_and_four_chats(browser: Browser, tmp_path: Path) -> None:
    expected = [alone(question) for question in QUESTIONS]
    assert len({answer for both in expected for answer in both}) >= len(QUESTIONS)
    with started(tmp_path) as server:
        db = open_database(tmp_path)
        watch = Watch()
        context = browser.new_context(base_url=server.url)
        context.on("page", watch.attach)
        with training(db) as job, Crowd(server.url) as crowd:
            pages = real_pages(context, job)
            assert crowd.ready.wait(120)
            crowd.go.set()
            for page, question in zip(pages[:2], QUESTIONS[2:], strict=True):
                ask(page, question)
            expect(pages[1].locator(".turn")).to_contain_text("before you", timeout=60_000)
            for page in pages[:2]:
                expect(page.locator("#talk .talk")).to_have_attribute(
                    "data-state", "done", timeout=90_000
                )
            shown = [page.evaluate(WRITTEN) for page in pages[:2]]
            time.sleep(3)  # the others look on
            times = [seconds for page in pages for seconds in page.evaluate(UPDATES)]
        context.close()
        db.close()
    assert watch.outside == []
    assert watch.errors == []
    streamed = [["".join(side["t"]) for side in sides] for sides in crowd.answers] + shown
    assert streamed == expected
    assert max(max(places, default=0) for places in crowd.places) >= 1
    print(
        f"{len(crowd.times)} updates of sessions, median {1000 * median(crowd.times):.0f} ms; "
        f"{len(times)} of pages in Chromium, median {1000 * median(times):.0f} ms; "
        f"places {[max(p, default=0) for p in crowd.places]}"
    )
    assert median(crowd.times) < 0.5
    assert median(times) < 0.5


def real_pages(context: BrowserContext, job: str) -> list[Page]:
    """Two that chat, two that look at the training."""
    pages = [open_chat(context.new_page(), quick=False) for _ in range(2)]
    for _ in range(2):
        page = context.new_page()
        page.goto(f"/train?job={job}")
        expect(page.locator(".live-top")).to_have_attribute("data-job", job, timeout=60_000)
        pages.append(page)
    return pages
