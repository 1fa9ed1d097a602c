"""Who asks: the visitor of a shared copy on whose behalf an event runs.

A cookie that nobody else can guess makes a browser one visitor. Only a digest of it is ever kept.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import secrets
from typing import Any

from gradio.context import LocalContext
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.locations import on_space

PLAIN, ON_SPACE = "rlkv-visitor", "__Host-rlkv-visitor"
"""Names of the cookie. The second can't be set by a neighbour's page of a common domain."""
YEAR_S = 365 * 86_400
PROXIES = "127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"
"""From where a proxy may say which address a request came from."""
SHARED = "RLKV_SHARED"
"""Set to 1 where others than the owner use a copy that is no Space."""
_VALUE = re.compile(r"[A-Za-z0-9_-]{32,128}")


def is_shared() -> bool:
    """Whether this copy is for visitors, who have to be kept apart."""
    return on_space() or os.environ.get(SHARED) == "1"


def visitor() -> str:
    """Id of whoever asks for what runs now.

    By their cookie, else by the session of a script. The name of `RLKV_AUTH` tells nobody apart:
    one name and password is for everybody. What was asked by nobody, such as the layout of a page,
    is asked by somebody new who owns nothing.
    """
    request = LocalContext.request.get(None)
    raw = _raw(request)
    told = {
        "cookie": _cookie(raw.headers) if raw is not None and _own_page(raw.headers) else "",
        "session": getattr(request, "session_hash", None),
    }
    for kind, value in told.items():
        if value:
            return hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()[:32]
    return secrets.token_hex(16)


def address() -> str:
    """From where that was asked, "" for nowhere; of IPv6 the network, which is one home's."""
    raw = _raw(LocalContext.request.get(None))
    return home_of(str(raw.client.host)) if raw is not None and raw.client is not None else ""


def home_of(host: str) -> str:
    """An address as visitors are counted by it."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped  # as proxies write it that listen on both
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _raw(request: Any) -> Any:
    """Starlette's request: what Gradio hands to events wraps it, what it hands to widgets is it."""
    return getattr(request, "request", None) or request


def _own_page(headers: Any) -> bool:
    """Whether the request comes from a page of this app, or from no browser at all: the page of
    somebody else must not act with a visitor's cookie."""
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


# --- the cookie -----------------------------------------------------------------------------


def cookie_name() -> str:
    """A Space is served over HTTPS, and in a frame of another site."""
    return ON_SPACE if on_space() else PLAIN


def _cookie(headers: Any) -> str:
    """Its value; "" where it is missing, or too short to be unguessable.

    Read as browsers send it: beside it may stand what another app of this host has set, and
    Python's own reader gives up at the first cookie that is not by the book.
    """
    value = cookie_parser(headers.get("cookie", "")).get(cookie_name(), "")
    return value if _VALUE.fullmatch(value) else ""


class VisitorCookie:
    """Middleware that gives every page the cookie, and prolongs the one that is there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        value = _cookie(Headers(scope=scope)) or secrets.token_urlsafe(32)

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Of pages alone: answers that cross each other would change who one is.
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("set-cookie", set_cookie(value))
            await send(message)

        await self._app(scope, receive, with_cookie)


def set_cookie(value: str) -> str:
    """The header's value."""
    name = cookie_name()
    kind = "SameSite=None; Secure; Partitioned" if name == ON_SPACE else "SameSite=Lax"
    return f"{name}={value}; Path=/; Max-Age={YEAR_S}; HttpOnly; {kind}"


def middleware() -> list[Middleware]:
    """For `launch(app_kwargs=...)`. From here on a proxy of the inner network is believed, too."""
    os.environ.setdefault("FORWARDED_ALLOW_IPS", PROXIES)  # uvicorn reads it when it starts
    return [Middleware(VisitorCookie)]
