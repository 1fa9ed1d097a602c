"""On which addresses the app starts, and for whom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.launching import ROOT, scrubbed
from tests.browser.conftest import free_port
from ui.listening import VARIABLE, auth_for, is_local, warning


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("LOCALHOST", True), ("0.0.0.0", False), ("::", False), ("192.168.1.5", False),
     ("my-machine", False), ("", False), ("127.0.0.1.evil.org", False)],
)  # fmt: skip
def test_which_addresses_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_others_need_a_password() -> None:
    assert auth_for("127.0.0.1") is None
    with pytest.raises(StorageError, match="--auth NAME:PASSWORD"):
        auth_for("0.0.0.0")
    assert auth_for("0.0.0.0", "me:correct horse: battery") == [("me", "correct horse: battery")]
    assert auth_for("127.0.0.1", "me:longenough") == [("me", "longenough")]
    assert auth_for("0.0.0.0", "none") is None


def test_the_environment_says_it_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "me:longenough")
    assert auth_for("0.0.0.0") == [("me", "longenough")]
    assert auth_for("0.0.0.0", "you:also long enough") == [("you", "also long enough")]
    assert VARIABLE not in scrubbed(os.environ)  # jobs get no password


@pytest.mark.parametrize("said", ["me", "me:", ":password1", "me:short", "None", "me password1"])
def test_what_is_no_password_is_refused(said: str) -> None:
    with pytest.raises(StorageError, match="take NAME:PASSWORD, with at least 8"):
        auth_for("127.0.0.1", said)


def test_a_space_is_for_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert auth_for("0.0.0.0", on_space=True) is None
    assert warning("0.0.0.0", None, on_space=True) == ""
    monkeypatch.setenv(VARIABLE, "me:longenough")
    assert auth_for("0.0.0.0", on_space=True) == [("me", "longenough")]


def test_what_is_open_is_said() -> None:
    assert warning("127.0.0.1", None) == ""
    assert "open to everybody" in warning("0.0.0.0", None)
    assert "without encryption" in warning("0.0.0.0", [("me", "longenough")])


def test_the_app_does_not_start_open_to_others(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "app.py", "--host", "0.0.0.0", "--port", str(free_port())],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "RLKV_DATA_DIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "--auth NAME:PASSWORD" in line
