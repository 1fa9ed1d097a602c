"""Copies of the database on another disk: taken after a change, restored when all is gone."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.database import FILE_NAME, Database
from storage.snapshots import Snapshots, Watch, listed, restore
from tests.storage.snapshot_stage import ROOT, add, restored, titles, until


def test_what_was_written_is_there_on_a_new_machine(
    live: Database, snapshots: Snapshots, bucket: Path, tmp_path: Path
) -> None:
    add(live, "one")
    taken = snapshots.take()
    assert listed(bucket) == [taken]
    assert taken is not None
    assert restored(bucket, tmp_path / "new") == ["one"]
    assert sorted(p.name for p in bucket.iterdir()) == [taken.name]  # nothing beside it
    assert not [p for p in live.folder.iterdir() if p.name.startswith(".partial")]


def test_no_new_file_while_nothing_has_changed(
    live: Database, snapshots: Snapshots, bucket: Path
) -> None:
    add(live, "one")
    assert snapshots.take()
    assert snapshots.take() is None
    with live.read() as session:
        assert session
    assert snapshots.take() is None
    assert len(listed(bucket)) == 1


def test_a_new_process_writes_no_file_that_is_there_already(
    live: Database, snapshots: Snapshots, bucket: Path
) -> None:
    add(live, "one")
    assert snapshots.take()
    again = Snapshots(live.path, bucket)
    assert again.take() is None
    add(live, "two")
    assert again.take()
    again.close()


def test_changes_of_another_process_count(
    live: Database, snapshots: Snapshots, tmp_path: Path, bucket: Path
) -> None:
    snapshots.take()
    program = (
        "import sys; from pathlib import Path; from storage.database import open_database;"
        "from storage.jobs import Jobs; db = open_database(Path(sys.argv[1]));"
        "Jobs(db).create('train', {}, title='theirs', model='tracer', total_steps=1)"
    )
    subprocess.run([sys.executable, "-c", program, live.folder], cwd=ROOT, check=True)
    assert snapshots.take()
    assert restored(bucket, tmp_path / "new") == ["theirs"]


def test_two_quick_changes_are_both_in_the_last_one(
    live: Database, snapshots: Snapshots, bucket: Path, tmp_path: Path
) -> None:
    for title in ("a", "b"):
        add(live, title)
        assert snapshots.take()
    assert restored(bucket, tmp_path / "new") == ["a", "b"]


def test_a_change_during_the_copy_is_for_the_next_one(
    live: Database, snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(live, "one")
    publish = Snapshots._publish

    def slowly(self: Snapshots, copy: Path) -> Path | None:
        add(live, "meanwhile")
        return publish(self, copy)

    monkeypatch.setattr(Snapshots, "_publish", slowly)
    assert snapshots.take()
    monkeypatch.undo()
    second = snapshots.take()
    assert second is not None
    assert titles(second) == ["meanwhile", "one"]


def test_with_no_good_one_there_is_nothing_to_restore(tmp_path: Path, bucket: Path) -> None:
    assert restore(tmp_path / FILE_NAME, bucket) is None
    bucket.mkdir(parents=True)
    (bucket / f"rlkv-{1:016}-{'0' * 64}.sqlite3").write_bytes(b"x")
    assert restore(tmp_path / FILE_NAME, bucket) is None
    assert [path.name for path in tmp_path.iterdir()] == ["bucket"]


def test_a_bucket_that_fails_is_told_once_and_mended_later(
    live: Database, bucket: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.parent.mkdir()
    bucket.write_text("a file where the folder should be")
    watch = Watch(Snapshots(live.path, bucket), every_s=0.01)
    add(live, "one")
    with caplog.at_level(logging.WARNING):
        watch.start()
        until(lambda: "No snapshot could be written" in caplog.text)
        time.sleep(0.1)
    assert caplog.text.count("No snapshot could be written") == 1
    bucket.unlink()
    until(lambda: bool(listed(bucket)))
    watch.close()
    assert titles(listed(bucket)[0]) == ["one"]


def test_the_end_writes_the_last_one(live: Database, bucket: Path) -> None:
    watch = Watch(Snapshots(live.path, bucket), every_s=3600)
    watch.start()
    add(live, "last")
    watch.close()
    assert titles(listed(bucket)[0]) == ["last"]
