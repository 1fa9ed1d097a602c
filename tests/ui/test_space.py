"""What a Space's environment means, and how the app starts and ends there."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from storage.database import FILE_NAME, open_database
from storage.snapshots import listed
from tests.browser.conftest import ROOT, Server
from ui import overview, space
from ui.components import header


def test_on_a_machine_of_ones_own_there_is_no_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert space.here() is None
    assert space.host() == "127.0.0.1"
    assert "Duplicate" not in overview._links()
    assert header._copy_button("Heads") == ""


def test_a_space_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "some'one/studio")
    monkeypatch.setenv("OAUTH_CLIENT_ID", "id")
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    here = space.here()
    assert here == space.Space("some'one/studio", zero_gpu=True, sign_in=True)
    assert space.host() == "0.0.0.0"
    link = "https://huggingface.co/spaces/some&#x27;one/studio?duplicate=true"
    assert f'href="{link}" target="_blank"' in overview._links()
    assert f'href="{link}" target="_blank"' in header._copy_button("Heads")
    assert header._copy_button("Overview") == ""


@pytest.mark.parametrize("home", ["/dev/null/home", ""])
def test_a_home_that_can_not_be_used_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("HF_HOME", "/dev/null/cache")
    space.prepare_home(tmp_path)
    assert Path(os.environ["HOME"]) == tmp_path / "home"
    assert "HF_HOME" not in os.environ


def test_a_good_home_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    space.prepare_home(tmp_path / "data")
    assert os.environ["HOME"] == str(tmp_path)
    assert os.environ["HF_HOME"] == str(tmp_path / "cache")
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_being_told_to_end_writes_the_last_snapshot_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", RLKV_SNAPSHOT_DIR=str(tmp_path / "bucket"))
    try:
        server.start()
        db = open_database(tmp_path / "data")
        with db.write() as session:
            session.connection().exec_driver_sql("PRAGMA user_version = 77")
        db.close()
        assert server.app is not None
        server.app.terminate()
        began = time.monotonic()
        assert server.app.wait(60) == 0
        assert time.monotonic() - began < 30
        with closing(sqlite3.connect(listed(tmp_path / "bucket")[0])) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (77,)
    finally:
        server.close()


def test_a_snapshot_is_there_before_anything_opens_the_database(tmp_path: Path) -> None:
    """The app restores first; what is newer than the snapshot is not overwritten later."""
    program = (
        "import sys; from pathlib import Path; from ui.__main__ import snapshots\n"
        "from storage.database import open_database; from storage.jobs import Jobs\n"
        "with snapshots(Path(sys.argv[1])):\n"
        "    jobs = Jobs(open_database(Path(sys.argv[1])))\n"
        "    print(len(jobs.list()))\n"
        "    jobs.create('train', {}, title='t', model='m', total_steps=1)\n"
    )
    for disk, before in (("a", "0"), ("b", "1"), ("b", "2"), ("c", "3")):
        (tmp_path / disk).mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / disk)],
            cwd=ROOT, capture_output=True, text=True, check=True,
            env={**os.environ, "RLKV_SNAPSHOT_DIR": str(tmp_path / "bucket")},
        )  # fmt: skip
        assert done.stdout.split() == [before], done.stderr
    assert (tmp_path / "c" / FILE_NAME).is_file()
