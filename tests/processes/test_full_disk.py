"""A disk that is really full under a training, and is freed again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlkv.worker import create, run_job
from storage import disk
from storage.database import open_database
from storage.launching import ROOT
from storage.processes import start_time
from tests.processes import killing
from tests.processes.stage import Stage

UNSHARE = ["unshare", "--mount", "--propagation", "private"]


def may_mount() -> bool:
    """Only root may, and not in every container."""
    if not shutil.which("unshare"):
        return False
    probe = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_full_disk_fails_the_job_by_name_and_loses_nothing(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("making a small disk needs the right to mount")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.processes.full_disk", str(place)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert (found["state"], found["message"]) == ("failed", disk.MESSAGE)
    assert found["page"] == 200
    assert found["checks"] == []
    assert found["resumes_from"] >= 2
    assert found["reserves"] == 0
    assert found["after"]["state"] == "done", found
    assert all(found["left"])
    assert found["same"]


def test_every_writer_of_a_job_is_recognised(tmp_path: Path) -> None:
    """What they say on a full disk; `/dev/full` is one that the system offers."""
    with pytest.raises(OSError, match="No space") as raised, Path("/dev/full").open("w") as file:
        file.write("x" * 100_000)
    assert disk.is_full(raised.value, tmp_path)
    wrapped = RuntimeError("checkpoint")
    wrapped.__cause__ = raised.value
    assert disk.is_full(wrapped, tmp_path)
    assert disk.is_full(ValueError("I/O error: No space left on device (os error 28)"), tmp_path)
    assert disk.is_full(ValueError("db: the disk is full. Free some space"), tmp_path)
    assert not disk.is_full(ValueError("a defect"), tmp_path)


def test_a_job_that_cannot_reserve_space_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_database()
    job = create(killing.settings(), db, claimed_by=os.getpid())

    def no_space(self: disk.Reserve) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    monkeypatch.setattr(disk.Reserve, "hold", no_space)
    ended = run_job(db, job)
    assert (ended.state, ended.message) == ("failed", disk.MESSAGE)
    assert ended.exit_code == disk.EXIT_CODE
    db.close()


def test_a_worker_that_could_not_write_its_end_is_understood(busy: Stage) -> None:
    job = busy.job(behaviour="disk full")
    ended = busy.until_ended(job)
    assert (ended.state, ended.message) == ("failed", disk.MESSAGE)
    assert ended.pid is None or start_time(ended.pid) is None
