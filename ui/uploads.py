"""How much an address uploads to a shared copy: a single visitor must not fill the disk for all."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.doors import MOST_UPLOAD_BYTES
from ui.quotas import Meter
from ui.visitor import home_of

MOST_BYTES, WITHIN_S = 300_000_000, 7200.0
"""In the time after which Gradio has surely deleted it (`delete_cache` of the pages)."""


def middleware() -> Middleware:
    """For `launch(app_kwargs=...)` of a shared copy."""
    return Middleware(UploadLimit, meter=Meter(MOST_BYTES, WITHIN_S))


class UploadLimit:
    """Answers 429 where an address has uploaded as much as it may for now."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app, self._meter = app, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/upload"):
            await self._app(scope, receive, send)
            return
        who = home_of((scope.get("client") or ("",))[0])
        # Counted before it comes, so that many at once are, too.
        declared = Headers(scope=scope).get("content-length", "")
        if not self._meter.take(who, int(declared) if declared.isdigit() else MOST_UPLOAD_BYTES):
            minutes = max(1, round(self._meter.frees_in(who) / 60))
            words = f"Much was uploaded from your address: there is room in {minutes} minutes."
            await PlainTextResponse(words, 429)(scope, receive, send)
            return
        await self._app(scope, receive, send)
