"""Secrets of the environment are in nothing that the app, its jobs or its answers leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from storage.database import open_database
from storage.jobs import Jobs
from storage.launching import ROOT
from tests.apart import run_apart
from tests.load.session import Session
from tests.load.stage import started
from tests.processes.killing import SMALL
from tests.processes.stage import wait_for
from tests.security.conftest import SECRETS

WORDS = [word.encode() for word in SECRETS.values() if word]


def holding(folder: Path) -> list[str]:
    """Files under a folder that hold a secret."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and any(word in path.read_bytes() for word in WORDS):
            found.append(str(path.relative_to(folder)))
    return found


def test_a_file_with_a_secret_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"a token: " + WORDS[0])
    assert holding(tmp_path) == ["log.txt"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_that_is_kept_holds_a_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    data = tmp_path / "data"
    with started(data, RLKV_SNAPSHOT_DIR=str(snapshots), **SECRETS) as server:
        answer = httpx.post(
            f"{server.url}/gradio_api/call/start_training",
            json={"data": [{**SMALL, "steps": 2}, "quick", "k"]}, timeout=60,
        )  # fmt: skip
        assert answer.status_code == 200

        async def chat() -> None:
            async with Session.open(server.url, "/chat") as page:
                page.set("slowly", False)
                await page.chat("c=7; b=6; e:c-b; k:c-e; ?k")

        run_apart(chat())
        db = open_database(data)
        wait_for(lambda: bool(Jobs(db).list(1)), 30)
        (job,) = Jobs(db).list(1)
        wait_for(lambda: Jobs(db).get(job.id).is_terminal, 150)
        assert Jobs(db).get(job.id).state == "done", Jobs(db).get(job.id).message
        db.close()
    assert (data / "jobs" / job.id / "log.txt").exists()
    out, error = capfd.readouterr()
    assert not any(word.decode() in out + error for word in WORDS)
    assert holding(tmp_path) == []


@pytest.mark.slow
def test_doctor_tells_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rlkv", "doctor", "--json"], cwd=ROOT, capture_output=True,
        env={**os.environ, **SECRETS, "RLKV_DATA_DIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.stdout
    assert not any(word in done.stdout + done.stderr for word in WORDS)
