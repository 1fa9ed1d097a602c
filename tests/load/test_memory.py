"""The server's memory over many chats that are opened, left in the middle of an answer, and opened
again.

The slow suite takes 60 chats; `RLKV_CHATS=200` is the acceptance test.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from statistics import mean

import psutil
import pytest

from tests.apart import run_apart
from tests.load.session import Session
from tests.load.stage import started

CHATS = int(os.environ.get("RLKV_CHATS", "60"))
GROWTH = 5e6 if CHATS >= 150 else 20e6
"""Bytes between the third and the last quarter. Sessions that Gradio never forgot cost 1.4 MB a
chat; it takes some hundred chats until what is kept for a while is as much as it will ever be."""
QUESTION = "f=3; j=4; b=9; h:f+j; d:h-b; a:d+d; e:a-f; c:e+h; ?c"


async def left_in_the_middle(url: str) -> None:
    """Opens the chat page, asks, reads five tokens, and closes the tab."""
    async with Session.open(url, "/chat") as page:
        page.set("slowly", True)
        page.set("question", QUESTION)
        send = page.on("click", "send")[0]
        await page.fire(send)
        token = page.value("talk")["run"]
        answering = asyncio.create_task(page.fire(page.after(send)[0]))
        while True:
            got = await page.ask_widget("talk", "pull", {"run": token, "have": [0, 0]})
            assert got["state"] in ("waiting", "loading", "running"), got
            if got["sides"] and got["sides"][0]["now"]["tokens"] > 5:
                break
            await asyncio.sleep(0.02)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_stays_flat_over_chats_that_are_left(tmp_path: Path) -> None:
    async def chats(url: str, process: psutil.Process) -> list[float]:
        used = []
        for _ in range(CHATS):
            await left_in_the_middle(url)
            used.append(float(process.memory_info().rss))
        return used

    with started(tmp_path) as server:
        assert server.app is not None
        used = run_apart(chats(server.url, psutil.Process(server.app.pid)))
    quarter = CHATS // 4
    third, last = mean(used[2 * quarter : 3 * quarter]), mean(used[3 * quarter :])
    marks = [round(one / 1e6) for one in used[:: max(1, CHATS // 10)]]
    print(f"{CHATS} chats: {marks} MB, third quarter {third / 1e6:.1f}, last {last / 1e6:.1f} MB")
    assert last - third < GROWTH
