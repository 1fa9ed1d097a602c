"""A shared copy's line has an end: over HTTP, with scripts that fill it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.apart import run_apart
from tests.load.session import Session
from tests.load.stage import started
from ui.waiting import MOST, MOST_OF_ONE

CALL: dict[str, Any] = {
    "data": ["c=7; b=6; e:c-b; ?e", "shipped", "both", -1, "", 256, 0, 1, 0, ""]
}


@contextmanager
def shared(folder: Path) -> Iterator[str]:
    with started(folder, RLKV_SHARED="1") as server:
        yield server.url


async def calls(url: str, address: str, count: int) -> list[httpx.Response]:
    """Scripts of one address, all at once."""
    headers = {"X-Forwarded-For": address}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        sent = (client.post("gradio_api/call/generate", json=CALL) for _ in range(count))
        return list(await asyncio.gather(*sent))


def refused(answers: list[httpx.Response]) -> list[str]:
    assert {answer.status_code for answer in answers} <= {200, 429}
    return [answer.json()["detail"] for answer in answers if answer.status_code == 429]


async def fill(url: str) -> None:
    """Until nobody is let in any more: of each address as many at once as would fill it twice."""
    let_in = [
        len(answers) - len(refused(answers))
        for n in range(10, 10 + MOST // MOST_OF_ONE)
        for answers in [await calls(url, f"203.0.113.{n}", 2 * MOST_OF_ONE)]
    ]
    assert let_in == [MOST_OF_ONE] * (MOST // MOST_OF_ONE)


@contextmanager
def kept_full(url: str) -> Iterator[None]:
    """Fills the line while a chat at reading pace holds the model."""
    full, over = threading.Event(), threading.Event()

    async def hold() -> None:
        async with Session.open(url, "/chat", headers={"X-Forwarded-For": "203.0.113.9"}) as page:
            page.set("slowly", True)
            page.set("question", "?")  # 160 tokens
            send = page.on("click", "send")[0]
            await page.fire(send)
            asked = {"run": page.value("talk")["run"], "have": [0, 0]}
            answering = asyncio.create_task(page.fire(page.after(send)[0]))
            while (await page.ask_widget("talk", "pull", asked))["state"] != "running":
                await asyncio.sleep(0.05)
            await fill(url)
            full.set()
            while not over.is_set() and not answering.done():
                await asyncio.sleep(0.05)
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(run_apart, hold())
        try:
            assert full.wait(60)
            yield
            assert not holding.done(), "the line moved too early"
        finally:
            over.set()
        holding.result()


@pytest.mark.timeout(240)
@pytest.mark.slow
def test_the_line_has_an_end_for_one_and_for_all(tmp_path: Path) -> None:
    with shared(tmp_path) as url, kept_full(url):
        (words,) = set(refused(run_apart(calls(url, "203.0.113.10", 5))))
        assert words.startswith(f"{MOST_OF_ONE} requests from your address wait here already")
        (words,) = set(refused(run_apart(calls(url, "203.0.113.99", 3))))
        assert "all that this public copy takes" in words
        assert "own machine without limits" in words
        with httpx.Client(base_url=url) as client:  # what looks on is let in, and nobody past it
            assert client.get("/chat").status_code == 200
            for who in ("203.0.113.10", "203.0.113.99"):  # so is what runs no model
                headers = {"X-Forwarded-For": who}
                listed = client.post(
                    "gradio_api/call/list_masks", json={"data": []}, headers=headers
                )
                assert listed.status_code == 200
            past = client.post("gradio_api/run/generate", json=CALL)
            assert (past.status_code, "join the queue" in past.text) == (404, True)
