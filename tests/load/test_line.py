"""A chat that waits is told of everything that runs a model before it, not of chats alone."""

from __future__ import annotations

from itertools import dropwhile
from pathlib import Path

import pytest

from tests.apart import run_apart
from tests.load.session import Session
from tests.load.stage import started


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_scripts_count_in_the_line(tmp_path: Path) -> None:
    async def ask(url: str) -> list[int]:
        places: list[int] = []
        async with Session.open(url, "/chat") as page, Session.open(url, "/chat") as other:
            await other.chat("c=7; b=6; e:c-b; k:c-e; ?k")  # the model is there
            for _ in range(2):  # two scripts that write for a while: hot, so that they do not end
                script = ["c=7; b=6; e:c-b; ?e", "shipped", "both", -1, "", 900, 5, 1, 0, ""]
                sent = await page.client.post("gradio_api/call/generate", json={"data": script})
                assert sent.status_code == 200
            await page.chat(
                "d=2; a=9; f:d+a; h:f-d; b:h-a; ?b",
                lambda got: places.append(got["place"]) if got["state"] == "waiting" else None,
            )
        return places

    with started(tmp_path) as server:
        places = run_apart(ask(server.url))
    # Before its own event has joined the line, there is nobody before it.
    counted = list(dropwhile(lambda place: place == 0, places))
    assert counted
    assert max(counted) in (1, 2)
    assert counted == sorted(counted, reverse=True)
