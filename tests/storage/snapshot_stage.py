"""Writing into a database that is copied, and reading the copies."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from storage.database import FILE_NAME, Database, open_database
from storage.jobs import Jobs
from storage.snapshots import restore

ROOT = Path(__file__).resolve().parents[2]


def add(db: Database, title: str) -> None:
    Jobs(db).create("train", {}, title=title, model="tracer", total_steps=1)


def titles(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [row[0] for row in connection.execute("SELECT title FROM jobs ORDER BY title")]


def restored(bucket: Path, where: Path) -> list[str]:
    """The titles that a new machine would have."""
    where.mkdir()
    assert restore(where / FILE_NAME, bucket) is not None
    db = open_database(where)
    assert db.check() == []
    db.close()
    return titles(where / FILE_NAME)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)
