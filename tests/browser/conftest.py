"""One real app on a free port with its own data folder, and pages that watch themselves.

Every page fails its test if a request leaves this machine or the console shows an error.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from rlkv.masks import HeadMask
from storage.database import Database, open_database
from storage.masks import Masks
from tests.browser.head_map import HEADS, LAYERS, figure

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
expect.set_options(timeout=15_000)  # two browsers share two cores with two apps
LEFT = ("AbortError: signal is aborted", "Unexpected error Connection errored out.")
"""What Gradio's own script says of requests that were under way when a page was left."""


class Server:
    """`python app.py` with its own supervisor, so that neither outlives the tests."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "RLKV_DATA_DIR": str(folder), **environment}
        command = [sys.executable, "-m", "storage.supervisor", "--data-dir", str(folder)]
        self.supervisor = self._spawn(command)
        self.app: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.app = self._spawn(
            [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(self.port)]
        )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(self.url, timeout=1).close()
                return
            except OSError:
                assert self.app.poll() is None, f"the app ended with {self.app.returncode}"
                time.sleep(0.1)
        raise AssertionError(f"no answer from {self.url} within {START_SECONDS} s")

    def kill(self) -> None:
        """As by `kill -9`."""
        if self.app is not None:
            self.app.send_signal(signal.SIGKILL)
            self.app.wait()

    def close(self) -> None:
        self.kill()
        self.supervisor.terminate()
        self.supervisor.wait(20)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=ROOT, env=self.environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("data"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def db(server: Server) -> Iterator[Database]:
    """The app's database, beside the app."""
    db = open_database(server.folder)
    yield db
    db.close()


_KEPT: dict[tuple[str, int], BrowserContext] = {}
"""Contexts of this process's browser by address and width."""


class Watch:
    """What pages did that they must not."""

    def __init__(self) -> None:
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.server_away = False
        """Set while the server is down on purpose: failed requests are then no error."""

    def attach(self, page: Page) -> None:
        page.on("request", lambda request: self._request(request.url))
        page.on("pageerror", lambda error: self._error(str(error)))
        page.on("console", lambda m: self._error(m.text) if m.type == "error" else None)

    def _request(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.outside.append(url)

    def _error(self, text: str) -> None:
        if not self.server_away and not text.startswith(LEFT):
            self.errors.append(text)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@contextmanager
def watched(
    browser: Browser, url: str, watch: Watch, *, width: int = 1440, patience_ms: int = 20_000
) -> Iterator[BrowserContext]:
    """A visitor's browser; fails at the end if a page did what it must not."""
    context = _context(browser, url, width)
    context.set_default_timeout(patience_ms)
    context.on("page", watch.attach)
    try:
        yield context
    finally:
        context.remove_listener("page", watch.attach)
        _forget(context, url)
    assert watch.outside == []
    assert watch.errors == []


def _context(browser: Browser, url: str, width: int) -> BrowserContext:
    """One for all visitors of an address, who need not each fetch and compile its scripts anew."""
    if (url, width) not in _KEPT:
        viewport = ViewportSize(width=width, height=900)
        _KEPT[url, width] = browser.new_context(base_url=url, viewport=viewport)
    return _KEPT[url, width]


def _forget(context: BrowserContext, url: str) -> None:
    """Leaves nothing of this visitor to the next but the scripts."""
    for page in context.pages:
        page.close()
    context.set_offline(False)
    context.clear_cookies()
    page = context.new_page()
    tool = context.new_cdp_session(page)
    tool.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})
    page.close()


@pytest.fixture
def context(browser: Browser, server: Server, watch: Watch) -> Iterator[BrowserContext]:
    with watched(browser, server.url, watch) as context:
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def mask() -> HeadMask:
    """Gates that fall from left to right and top to bottom, so that every rank is known."""
    scores = np.linspace(1.0, 0.0, LAYERS * HEADS).reshape(LAYERS, HEADS)
    return HeadMask.from_scores(
        scores, sparsity=0.5, sink=4, recent=16, model="tracer", name="Falling"
    )


@pytest.fixture
def heads(page: Page, server: Server, mask: HeadMask) -> Iterator[Page]:
    """The page, open on that mask."""
    db = open_database(server.folder)
    key = Masks(db).save(mask.to_record()).id
    page.goto(f"/heads?mask={key}")
    page.wait_for_selector("#map [role=gridcell]")  # the first time the server imports torch
    expect(figure(page, "kept")).to_have_text("16 of 32")
    yield page
    db.close()
