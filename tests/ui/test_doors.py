"""Which requests get past the doors; `tests/security/test_requests.py` tries the real app."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apart import run_apart
from ui.doors import BodyLimit, OwnNames, OwnPages, guarded, hostname, is_foreign


def asked(method: str = "POST", **headers: str) -> Any:
    found = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return {"type": "http", "method": method, "headers": found}


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({"host": "a:1"}, False),
        ({"host": "a:1", "origin": "http://a:1"}, False),
        ({"host": "A:1", "origin": "http://a:1"}, False),
        ({"host": "a:1", "origin": "http://a:2"}, True),
        ({"host": "a:1", "origin": "null"}, True),
        ({"host": "127.0.0.1:1", "x_forwarded_host": "me.org", "origin": "https://me.org"}, False),
        ({"host": "a", "origin": "http://b", "sec_fetch_site": "same-origin"}, False),
        ({"host": "a", "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, True),
        ({"host": "a", "sec_fetch_site": "same-site"}, True),
    ],
)
def test_pages_of_others_are_told_apart(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(asked(**headers)) is foreign


def test_a_link_is_followed() -> None:
    assert not is_foreign(asked("GET", sec_fetch_site="cross-site", sec_fetch_mode="navigate"))
    assert is_foreign(asked("GET", sec_fetch_site="cross-site", sec_fetch_mode="cors"))


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost:1", "localhost"), ("[::1]:7860", "::1"), ("A.org", "a.org"), ("", ""), ("[", "")],
)
def test_names_of_hosts(host: str, name: str) -> None:
    assert hostname(host) == name


def test_which_doors_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def kinds(host: str, *, on_space: bool = False) -> list[Any]:
        given = {"app_kwargs": {"middleware": []}, "quiet": True}
        found = guarded(given, host, on_space=on_space)
        assert found["quiet"]
        return [one.cls for one in found["app_kwargs"]["middleware"]]

    assert kinds("127.0.0.1") == [BodyLimit, OwnPages, OwnNames]
    assert kinds("0.0.0.0") == [BodyLimit, OwnPages]
    assert kinds("0.0.0.0", on_space=True) == [BodyLimit]
    monkeypatch.setenv("RLKV_HOSTS", "Studio.example, other ")
    made = guarded({}, "localhost")["app_kwargs"]["middleware"][-1]
    assert made.kwargs["names"] == {"studio.example", "other"}


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("door", "headers"),
    [
        (OwnNames, {"host": "evil.example"}),
        (OwnPages, {"host": "localhost:1", "origin": "http://evil.example"}),
    ],
)
def test_no_door_lets_a_socket_through_that_it_would_not_let_a_request(
    kind: str, door: Any, headers: dict[str, str]
) -> None:
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def send(message: Any) -> None:
        pass

    async def nothing() -> Any:
        return {"type": f"{kind}.disconnect"}

    for given in (headers, {"host": "localhost:1"}):
        scope = {**asked(**given), "type": kind}
        run_apart(door(app)(scope, nothing, send))
    assert reached == [kind]
