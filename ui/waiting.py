"""How many requests wait on a shared copy. Whoever comes when the line is full is told so at once:
Gradio's own queue grows for ever, and a place in it that is hours long helps nobody."""

from __future__ import annotations

from collections import Counter

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from storage.limits import AT_HOME
from ui.visitor import home_of

MOST = 60
"""Requests that wait, of all visitors."""
MOST_OF_ONE = 20
"""From one address, so that one alone can't fill the line for all."""


def middleware() -> Middleware:
    """For `launch(app_kwargs=...)` of a shared copy."""
    return Middleware(LineLimit)


class LineLimit:
    """Answers 429 where as many wait as may; the page shows the words (`detail`) as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._coming: Counter[str] = Counter()
        """Those let in that are not in line yet, by address."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not joins(scope):
            await self._app(scope, receive, send)
            return
        who = home_of((scope.get("client") or ("",))[0])
        waiting = in_line(scope) + self._coming
        if words := _refusal(waiting, who):
            await JSONResponse({"detail": words}, 429)(scope, receive, send)
            return
        # Counted before it is in line: no other request can have been looked at in between.
        self._coming[who] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._coming[who] -= 1
            self._coming += Counter()  # without those of whom there are none


def joins(scope: Scope) -> bool:
    """Whether a request puts something into line: an event of a page, or a script's call."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return scope["path"].endswith("/queue/join") or "/call/" in scope["path"]


def in_line(scope: Scope) -> Counter[str]:
    """How many wait in all lines of Gradio's queue, by address."""
    lines = scope["app"].get_blocks()._queue.event_queue_per_concurrency_id.values()
    clients = [event.request.client for line in lines for event in line.queue]
    return Counter(home_of(client.host if client else "") for client in clients)


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
