"""What one address may upload to a shared copy; that uploads have a largest size is in
`tests/security/test_files.py`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from tests.apart import run_apart
from ui.quotas import Meter
from ui.shell import launch_options
from ui.uploads import UploadLimit


async def taken(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("taken")(scope, receive, send)


def test_an_address_uploads_no_more_than_its_part() -> None:
    meter = Meter(1000, 7200, lambda: 0.0)

    def sent(size: int | None, host: str = "203.0.113.5", path: str = "/gradio_api/upload") -> int:
        client = TestClient(UploadLimit(taken, meter), client=(host, 1))
        if size is None:  # a length that is not told before
            return client.post(path, content=iter([b"x"])).status_code
        return client.post(path, content=bytes(size)).status_code

    assert [sent(600), sent(600), sent(600)] == [200, 200, 429]
    assert sent(1, path="/gradio_api/queue/join") == 200
    assert [sent(None, "203.0.113.6"), sent(1, "203.0.113.6")] == [200, 429]
    assert [sent(1000, "2001:db8::1"), sent(1, "2001:db8::2")] == [200, 429]


def test_of_many_uploads_at_once_none_slips_past() -> None:
    meter, done = Meter(1000, 7200, lambda: 0.0), []

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.2)
        await PlainTextResponse("taken")(scope, receive, send)

    async def one() -> None:
        scope = {
            "type": "http", "path": "/gradio_api/upload", "client": ("203.0.113.5", 1),
            "headers": [(b"content-length", b"600")],
        }  # fmt: skip

        async def send(message: Any) -> None:
            done.extend([message["status"]] if "status" in message else [])

        async def receive() -> Any:
            return {"type": "http.request"}

        await UploadLimit(slowly, meter)(scope, receive, send)

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(10)))

    run_apart(many())
    assert sorted(done) == [200] * 2 + [429] * 8


def test_it_is_there_on_shared_copies(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert "middleware" not in launch_options(tmp_path)["app_kwargs"]
    monkeypatch.setenv("RLKV_SHARED", "1")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")  # set by what follows, if not here
    kinds = [one.cls for one in launch_options(tmp_path)["app_kwargs"]["middleware"]]
    assert UploadLimit in kinds
