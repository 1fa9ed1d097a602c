"""How many wait for a model on a shared copy. Whoever comes when the line is full is told so at
once: Gradio's own queue grows for ever, and a place in it that is hours long helps nobody.

Only what runs a model stands in that line, so a class behind one address opens pages freely.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import gradio as gr
from fastapi import HTTPException

from storage.limits import AT_HOME
from ui.events import MODEL_RUNS
from ui.visitor import home_of

MOST = 60
"""Answers and measurements that wait, of all visitors."""
MOST_OF_ONE = 20
"""From one address, so that one alone can't fill the line for all."""
MOST_EVENTS = 1000
"""All that Gradio's queue holds at once: saving, opening and the like, which take a moment."""
LINE = MODEL_RUNS["concurrency_id"]


def bound(app: gr.Blocks) -> None:
    """Answers 429 where as many wait as may; the page shows the words (`detail`) as they are."""
    queue: Any = app._queue
    push, coming = queue.push, Counter[str]()

    async def join(body: Any, request: Any, username: str | None) -> Any:
        fn = app.fns.get(body.fn_index)
        if fn is None or fn.concurrency_id != LINE:
            return await push(body=body, request=request, username=username)
        who = _address(request)
        if words := _refusal(_in_line(app) + coming, who):
            raise HTTPException(429, words)
        # Counted before it is in line: no other request can have been looked at in between.
        coming[who] += 1
        try:
            return await push(body=body, request=request, username=username)
        finally:
            coming[who] -= 1
            if not coming[who]:
                del coming[who]

    queue.push = join


def model_line(app: gr.Blocks) -> Any:
    """Gradio's line of what waits for a model (`queue`, `current_concurrency`); None before the
    first ever stood in it."""
    return app._queue.event_queue_per_concurrency_id.get(LINE)


def _in_line(app: gr.Blocks) -> Counter[str]:
    """How many wait for a model, by address."""
    line = model_line(app)
    return Counter(_address(event.request) for event in line.queue) if line else Counter()


def _address(request: Any) -> str:
    return home_of(request.client.host if request.client else "")


def _refusal(waiting: Counter[str], who: str) -> str:
    """What is said to whoever can't come in, or ""."""
    if waiting[who] >= MOST_OF_ONE:
        return (
            f"{waiting[who]} requests from your address wait here already: try again when some of "
            "them are answered."
        )
    if waiting.total() >= MOST:
        return (
            f"{waiting.total()} requests wait here already, which is all that this public copy "
            f"takes: try again in a few minutes. {AT_HOME}"
        )
    return ""
