"""The example script against a real app, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from rlkv.masks import HeadMask
from rlkv.shipped import EXAMPLES
from tests.apart import run_apart

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SECONDS = 90


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an app with its own data and its own supervisor, so that neither outlives it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = str(tmp_path_factory.mktemp("data"))
    environment = {**os.environ, "RLKV_DATA_DIR": folder, "RLKV_MCP": "1"}
    begun = [
        subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment)
        for words in (
            ["-m", "storage.supervisor", "--data-dir", folder],
            ["app.py", "--port", str(port)],
        )
    ]
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < end, f"no answer from {address}"
                assert begun[1].poll() is None, "the app has ended"
                time.sleep(0.2)
        yield address
    finally:
        for process in reversed(begun):
            process.terminate()
        for process in begun:
            process.wait(20)


def read(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(address) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def run(address: str, *options: str) -> str:
    command = [sys.executable, "examples/use_api.py", "--app", address, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_answers_with_both_sides(app: str) -> None:
    said = run(app)
    assert "  shipped: tracer tracing seed 0, 16 heads kept" in said
    shipped = HeadMask.load(EXAMPLES / "masks" / "tracer")
    assert f"Layer 0 of shipped keeps {shipped.kept[0].sum()} of 8 heads" in said
    assert f"as a link: {shipped.to_link()}\n" in said
    assert "4,096,000 bytes, under the mask 2,088,960 (49% saved)" in said
    assert said.count("</think>k=6") == 2


def test_nothing_is_public_but_what_is_documented(app: str) -> None:
    """Said of the running app, by itself."""
    page = (ROOT / "docs" / "api.md").read_text()
    documented = re.findall(r"^### `(/\w+)`$", page, re.MULTILINE)
    info = read(f"{app}/gradio_api/info")
    assert list(info["named_endpoints"]) == documented
    assert info["unnamed_endpoints"] == {}
    for name, told in info["named_endpoints"].items():
        assert told["description"], name
        assert all(p["type"] for p in told["parameters"]), name
        assert all(r["type"] for r in told["returns"]), name
    events = read(f"{app}/config")["dependencies"]
    assert len(events) > 100
    public = [e["api_name"] for e in events if e["api_visibility"] != "private"]
    assert [f"/{name}" for name in public] == documented


def test_the_endpoints_are_tools_of_the_mcp_server(app: str) -> None:
    """Asked by the protocol's own client."""

    async def asked() -> tuple[list[str], str, str]:
        async with (
            streamable_http_client(f"{app}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            answered = await session.call_tool("generate", {"prompt": "a=3; b=4; c:a+b; ?c"})
            refused = await session.call_tool("get_mask", {"mask": "nosuchmask"})
        assert not answered.isError
        assert refused.isError
        return tools, answered.content[0].text, refused.content[0].text  # type: ignore[union-attr]

    tools, answer, refusal = run_apart(asked())
    page = (ROOT / "docs" / "api.md").read_text()
    assert tools == re.findall(r"^### `/(\w+)`$", page, re.MULTILINE)
    assert answer.count("</think>c=7") == 2
    assert "There is no mask 'nosuchmask'" in refusal


def test_the_example_trains_and_stops(app: str) -> None:
    said = run(app, "--train")
    assert "cancelled after" in said
    assert "masks: none" not in said
