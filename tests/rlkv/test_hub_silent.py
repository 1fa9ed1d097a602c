"""A Hub that does not answer, or answers as none, and a disk that takes nothing."""

from __future__ import annotations

import errno
import http.server
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from rlkv.errors import UserError
from rlkv.hub.browsing import browse
from rlkv.hub.refusals import explained
from rlkv.masks import HeadMask
from tests.rlkv.hub_client import use
from tests.rlkv.jobs_stand_in import TOKEN


@pytest.fixture
def mask() -> HeadMask:
    return HeadMask.random(4, 8, sparsity=0.5, seed=0, model="org/base", name="mine")


@pytest.mark.parametrize("answers", [False, True], ids=["no-name", "silent"])
def test_a_hub_that_does_not_answer_is_given_up_within_four_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: bool
) -> None:
    monkeypatch.setattr("rlkv.hub.browsing.TIMEOUT_S", 0.6)
    monkeypatch.setattr("rlkv.hub.reaching.TIMEOUT_S", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as server:
        if answers:  # connects, then says nothing
            use(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path)
        else:  # a name that takes for ever to be resolved
            use(monkeypatch, "http://hub.invalid", tmp_path)
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(1.5))
        began = time.monotonic()
        with pytest.raises(UserError, match=r"did not answer|can't be reached"):
            browse("org/base")
        assert time.monotonic() - began < 1.4


def test_a_page_of_html_instead_of_an_answer_is_told_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mask: HeadMask
) -> None:
    """As from a network that wants one to log in first."""

    class Portal(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Portal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        use(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path)
        with pytest.raises(UserError, match=r"in trouble: try again later \(status 503"):
            mask.push_to_hub("user/my-mask", token=TOKEN)
    finally:
        server.shutdown()
        server.server_close()


def test_a_full_disk_is_not_taken_for_a_silent_hub() -> None:
    with (
        pytest.raises(UserError, match=r"^It can't be read: No space left on device\.$"),
        explained("It can't be read"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"a")
    with (
        pytest.raises(UserError, match=r"^It can't be read: Read-only file system \(/hf/refs\)\.$"),
        explained("It can't be read"),
    ):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/hf/refs")
    with pytest.raises(UserError, match="does not answer"), explained("It can't be read"):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
