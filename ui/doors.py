"""What no request gets past, whatever Gradio would make of it: bodies of any size, pages of others,
and names that are not this app's.

A browser lets the page of any site send requests to an app on this machine. Gradio keeps such a
page from reading the answers where the app is at `localhost`, but not where it is reached by
another name, and a name that its owner points at this machine (DNS rebinding) counts as the app's
own. On a Space other sites may call the app, so only the size is looked at there.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.listening import is_local

MOST_BYTES = 16_000_000
"""Of any request: the longest question has 2 million characters."""
MOST_UPLOAD_BYTES = 110_000_000
"""Of all files of an upload; each by itself is held to `max_file_size`, and 20 come together."""
NAMES_VARIABLE = "RLKV_HOSTS"
"""Further names by which the app on this machine is reached, divided by commas."""
NO_FRAMES = "frame-ancestors 'self'"
"""In whose pages a browser may show the app."""


def guarded(options: dict[str, Any], host: str, *, on_space: bool = False) -> dict[str, Any]:
    """Options of `launch` with what is in this file added.

    Args:
        options: as `ui.shell.launch_options` gives them.
        host: the address that the app listens on.
        on_space: whether this is a Space, which other sites may call.
    """
    added = [Middleware(BodyLimit)]
    if not on_space:
        added.append(Middleware(OwnPages))
    if is_local(host) and not on_space:
        added.append(Middleware(OwnNames, names=further_names()))
    given = dict(options.get("app_kwargs") or {})
    return {
        **options,
        "app_kwargs": {**given, "middleware": [*added, *given.get("middleware", [])]},
    }


def further_names() -> frozenset[str]:
    """What `RLKV_HOSTS` says."""
    said = os.environ.get(NAMES_VARIABLE, "").split(",")
    return frozenset(name.strip().lower() for name in said if name.strip())


class TooLarge(Exception):
    """More came than was allowed."""


class BodyLimit:
    """Answers 413 instead of taking in a body of any size."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MOST_UPLOAD_BYTES if scope["path"].endswith("/upload") else MOST_BYTES
        refusal = PlainTextResponse(f"Requests over {most:,} bytes are refused.", 413)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            await refusal(scope, receive, send)
            return
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except TooLarge:
            if not begun:
                await refusal(scope, receive, send)


class OwnPages:
    """Refuses what the page of another site sends; opening a link from there is all right, but not
    within that page, which could lay something over our buttons."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and is_foreign(scope):
            words = "This request comes from a page of another site."
            await PlainTextResponse(words, 403)(scope, receive, send)
            return

        async def unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("content-security-policy", NO_FRAMES)
            await send(message)

        await self._app(scope, receive, unframed)


def is_foreign(scope: Scope) -> bool:
    """Whether a browser says that the page of another site asks.

    Scripts say nothing of it and pass. Browsers that do not send `Sec-Fetch-Site` (it is left out
    over plain HTTP, except to this machine) send the page's origin with all that could change
    anything.
    """
    headers = Headers(scope=scope)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site in ("same-origin", "none"):
        return False
    if site is not None:
        follows = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") == "GET"
        return not follows
    if origin is None:
        return False
    own = headers.get("x-forwarded-host") or headers.get("host", "")
    return urlsplit(origin).netloc.lower() != own.lower()


class OwnNames:
    """Refuses a name that is not this machine's: one that somebody points at it (DNS rebinding)."""

    def __init__(self, app: ASGIApp, names: frozenset[str] = frozenset()) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            name = hostname(Headers(scope=scope).get("host", ""))
            if not (name in self._names or name == "localhost" or is_address(name)):
                words = (
                    f"This app is at 127.0.0.1 or localhost. If it is meant to be reached by "
                    f"another name, start it with {NAMES_VARIABLE} set to that name."
                )
                await PlainTextResponse(words, 421)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def hostname(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether a name is a number: nobody can point that elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
