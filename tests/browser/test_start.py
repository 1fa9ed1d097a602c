"""How the app starts, and what a public copy refuses."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from storage.database import open_database
from storage.jobs import Jobs
from tests.browser.conftest import ROOT, Server, free_port

pytestmark = pytest.mark.browser


def run_app(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_port_in_use_gets_one_line_that_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_app("--port", str(port))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert f"python app.py --port {port + 1}" in line


def test_a_data_folder_that_can_not_be_written_gets_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.touch()
    done = run_app("--port", str(free_port()), RLKV_DATA_DIR=str(file / "folder"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "RLKV_DATA_DIR" in line


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Server]:
    """The app as on a Space, though still only for this machine."""
    server = Server(tmp_path, SPACE_ID="somebody/rlkv")
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_a_public_copy_refuses_to_train_even_when_the_button_is_forced(
    space: Server, browser: Browser
) -> None:
    page = browser.new_page()
    page.goto(f"{space.url}/train")
    button = page.get_by_role("button", name="Start", exact=True)
    expect(button).to_be_disabled()
    link = page.locator(".warn").get_by_role("link", name="duplicate this Space")
    expect(link).to_have_attribute("href", re.compile("duplicate=true$"))
    expect(page.locator("#live")).not_to_contain_text("Press Start")
    page.evaluate("document.querySelector('#start').disabled = false")
    button.click()
    expect(page.locator(".toast-body")).to_contain_text("Training is switched off")
    db = open_database(space.folder)
    assert not Jobs(db).list()
    db.close()
    page.close()
