"""Snapshots that are damaged, cut short, or don't fit: a good one is always left."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from storage.database import FILE_NAME, Database
from storage.snapshots import Snapshots, listed, restore
from tests.processes.test_full_disk import UNSHARE, may_mount
from tests.storage.snapshot_stage import ROOT, add, restored, titles, until


def test_the_newest_good_ones_are_kept_whatever_the_clock_says(
    live: Database, snapshots: Snapshots, bucket: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for hour, title in enumerate("abcde"):
        add(live, title)
        monkeypatch.setattr(time, "time_ns", lambda hour=hour: (10 - hour) * 3600 * 10**9)
        assert snapshots.take()
    assert len(listed(bucket)) == 3
    assert restored(bucket, tmp_path / "new") == list("abcde")


@pytest.mark.parametrize("damage", ["torn", "changed", "empty", "not a database"])
def test_a_damaged_one_is_passed_over_for_the_second_newest(
    live: Database, snapshots: Snapshots, bucket: Path, tmp_path: Path, damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for title in "ab":
        add(live, title)
        snapshots.take()
    newest = listed(bucket)[0]
    whole = newest.read_bytes()
    broken = {
        "torn": whole[: len(whole) // 2],
        "changed": whole[:5000] + b"\xff" + whole[5001:],
        "empty": b"",
        "not a database": b"x" * len(whole),
    }[damage]
    newest.write_bytes(broken)
    assert restored(bucket, tmp_path / "new") == ["a"]
    assert newest.name in caplog.text
    assert "passed over" in caplog.text


def test_one_with_the_right_hash_of_a_damaged_database_is_passed_over(
    live: Database, snapshots: Snapshots, bucket: Path, tmp_path: Path
) -> None:
    for title in "ab":
        add(live, title)
        snapshots.take()
    newest = listed(bucket)[0]
    data = bytearray(newest.read_bytes())
    data[4096:12288] = b"\xa5" * 8192  # two pages of it
    newest.unlink()
    name = f"{newest.name[:22]}{hashlib.sha256(data).hexdigest()}.sqlite3"
    (bucket / name).write_bytes(data)
    assert listed(bucket)[0].name == name
    assert restored(bucket, tmp_path / "new") == ["a"]


def test_damaged_ones_do_not_push_out_good_ones(
    live: Database, snapshots: Snapshots, bucket: Path, tmp_path: Path
) -> None:
    for title in "abc":
        add(live, title)
        snapshots.take()
    for path in listed(bucket)[:2]:
        path.write_bytes(b"")
    anew = Snapshots(live.path, bucket, keep=3)
    add(live, "d")
    anew.take()
    anew.close()
    good = [p for p in listed(bucket) if p.stat().st_size]
    assert [titles(p) for p in good] == [list("abcd"), ["a"]]


def test_only_an_old_unfinished_copy_is_removed(
    live: Database, snapshots: Snapshots, bucket: Path
) -> None:
    """A new one may be another process's, which is writing it."""
    bucket.mkdir(parents=True)
    old, new = (bucket / f".partial-{number}" for number in (1, 2))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    assert snapshots.take()
    assert list(bucket.glob(".partial*")) == [new]


def test_the_log_of_a_database_that_is_gone_does_not_spoil_a_restored_one(
    live: Database, snapshots: Snapshots, bucket: Path, tmp_path: Path
) -> None:
    add(live, "one")
    snapshots.take()
    where = tmp_path / "new"
    where.mkdir()
    for rest in ("-wal", "-shm"):
        shutil.copyfile(f"{live.path}{rest}", where / f"{FILE_NAME}{rest}")
    assert restore(where / FILE_NAME, bucket) is not None
    assert [path.name for path in where.iterdir()] == [FILE_NAME]


def test_a_live_database_is_never_replaced(
    live: Database, snapshots: Snapshots, bucket: Path
) -> None:
    snapshots.take()
    add(live, "newer")
    assert restore(live.path, bucket) is None
    assert titles(live.path) == ["newer"]


WRITER = """
import itertools, sys
from pathlib import Path
from storage.database import open_database
from storage.jobs import Jobs
from storage.snapshots import Snapshots
db = open_database(Path(sys.argv[1]))
taker = Snapshots(db.path, Path(sys.argv[2]))
print("ready", flush=True)
for i in itertools.count():
    Jobs(db).create("train", {"filler": "x" * 2_000_000}, title=f"{i:05}", model="m", total_steps=1)
    taker.take()
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_writing_leaves_good_ones(tmp_path: Path, bucket: Path) -> None:
    torn = 0
    for attempt in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path / f"live-{attempt}"), str(bucket)]
        writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        newest = listed(bucket)[:1]
        until(lambda: listed(bucket)[:1] != newest)  # noqa: B023
        until(lambda: bool(list(bucket.glob(".partial*"))))  # the next is being written right now
        time.sleep(0.002 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        torn += len(list(bucket.glob(".partial*")))
        for path in bucket.glob(".partial*"):
            os.utime(path, (0, 0))
    assert torn > 0  # else nothing was killed in the middle
    found = restored(bucket, tmp_path / "new")
    assert found
    assert found == [f"{i:05}" for i in range(len(found))]
    with closing(sqlite3.connect(listed(bucket)[0])) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


FULL = """
import subprocess, sys
from pathlib import Path
from storage.database import open_database
from storage.jobs import Jobs
from storage.snapshots import Snapshots, Watch, listed
live, bucket = map(Path, sys.argv[1:])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", bucket], check=True)
db = open_database(live)
for size in (10, 2_000_000):
    watch = Watch(Snapshots(db.path, bucket))
    Jobs(db).create("train", {"filler": "x" * size}, title=f"{size}", model="m", total_steps=1)
    watch.close()
Jobs(db).create("train", {}, title="the app goes on", model="m", total_steps=1)
print([path.name for path in bucket.iterdir()] == [path.name for path in listed(bucket)])
print(len(listed(bucket)))
"""


def test_a_full_bucket_leaves_the_last_one_and_a_warning(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("making a small disk needs the right to mount")
    (tmp_path / "bucket").mkdir()
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", FULL, tmp_path / "live", tmp_path / "bucket"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "1"]
    assert "No snapshot could be written: [Errno 28] No space left" in done.stderr
    assert titles(tmp_path / "live" / FILE_NAME) == ["10", "2000000", "the app goes on"]
