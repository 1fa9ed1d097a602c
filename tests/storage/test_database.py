import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from storage.database import FILE_NAME, Database, open_database
from storage.errors import StorageError
from storage.jobs import Jobs
from storage.metrics import Metrics


def pragma(db: Database, name: str) -> object:
    with db.read() as session:
        return session.execute(text(f"PRAGMA {name}")).scalar()


def test_the_file_is_set_up_as_planned(db: Database, tmp_path: Path) -> None:
    assert db.path == tmp_path / FILE_NAME
    assert db.folder == tmp_path
    assert pragma(db, "journal_mode") == "wal"
    assert pragma(db, "foreign_keys") == 1
    assert pragma(db, "synchronous") == 1
    assert pragma(db, "busy_timeout") == 15_000
    assert db.check() == []


def test_a_block_that_fails_changes_nothing(db: Database) -> None:
    def write_and_fail() -> None:
        with db.write() as session:
            row = "('a', 'm', 't', '{}', 0, 0, '', NULL, '')"
            session.execute(text(f"INSERT INTO chats VALUES {row}"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()

    with db.read() as session:
        assert session.execute(text("SELECT count(*) FROM chats")).scalar() == 0


def test_readers_cannot_write(db: Database) -> None:
    with pytest.raises((OperationalError, StorageError)), db.read() as session:
        session.execute(text("DELETE FROM chats"))


def test_a_wrong_type_or_reference_is_refused(db: Database) -> None:
    row = "('a', 'm', 't', '{}', 'soon', 0, '', NULL, '')"
    with pytest.raises(IntegrityError), db.write() as session:
        session.execute(text(f"INSERT INTO chats VALUES {row}"))
    with pytest.raises(IntegrityError), db.write() as session:
        session.execute(text("INSERT INTO metrics VALUES ('nobody', 'reward', 1, 0.5)"))


def test_a_reference_to_nothing_is_found_by_the_check(db: Database, tmp_path: Path) -> None:
    """As a file is left that another program has written to."""
    assert db.check() == []
    other = sqlite3.connect(tmp_path / FILE_NAME)  # it does not ask for references to be kept
    other.execute("INSERT INTO metrics VALUES ('nobody', 'reward', 1, 0.5)")
    other.commit()
    other.close()
    (found,) = db.check()
    assert "metrics" in found
    assert "jobs" in found


def test_threads_write_and_read_at_once(db: Database) -> None:
    job = Jobs(db).create("train", {})
    metrics = Metrics(db)
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for step in range(20):
                metrics.log(job.id, step, {f"value{thread}": step})
                metrics.series(job.id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert {len(curve) for curve in metrics.series(job.id).values()} == {20}


def test_what_was_written_is_there_after_closing(tmp_path: Path) -> None:
    db = open_database(tmp_path)
    job = Jobs(db).create("train", {"a": [1, None, "x"]})
    db.close()

    again = open_database(tmp_path)
    assert Jobs(again).get(job.id) == job
    again.close()


def test_a_file_that_is_no_database_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"hello, this is a text file and nothing else" * 100)

    with pytest.raises(StorageError, match="not a database"):
        open_database(tmp_path)


def test_an_unknown_journal_mode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKV_JOURNAL_MODE", "MEMORY")

    with pytest.raises(StorageError, match="use WAL or DELETE"):
        open_database(tmp_path)


def test_network_folders_may_do_without_wal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKV_JOURNAL_MODE", "delete")
    db = open_database(tmp_path)

    assert pragma(db, "journal_mode") == "delete"
    db.close()


def test_a_full_disk_is_told_in_plain_words(db: Database) -> None:
    job = Jobs(db).create("train", {})
    with db.write() as session:
        pages = session.execute(text("PRAGMA page_count")).scalar()
        session.execute(text(f"PRAGMA max_page_count = {pages}"))

    with pytest.raises(StorageError, match="disk is full"):
        Metrics(db).add_snapshot(job.id, 1, bytes(4 * 100 * 1000), 100, 1000)

    assert Jobs(db).get(job.id) == job
    assert db.check() == []


def test_a_copy_of_the_closed_file_is_whole(tmp_path: Path) -> None:
    db = open_database(tmp_path)
    Jobs(db).create("train", {})
    db.close()

    connection = sqlite3.connect(tmp_path / FILE_NAME)
    assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    connection.close()
