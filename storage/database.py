"""One SQLite file: how it is opened, read and written by several threads and processes at once.

Writers take the lock when they begin (BEGIN IMMEDIATE) and wait for each other, so no
transaction fails half way; readers see the last committed state and never wait (WAL). Keep
transactions short: compute outside. Never carry a `Database` across a fork.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from storage.errors import StorageError
from storage.locations import data_dir, private_folder
from storage.migrations import migrate

FILE_NAME = "rlkv.sqlite3"
BUSY_S = 15.0
OLDEST_SQLITE = (3, 37, 0)  # the first with STRICT tables


def open_database(folder: Path | None = None) -> "Database":
    """The database of a data folder (default: `data_dir()`), made or brought up to date.

    Raises:
        StorageError: the folder is not writable, or the file is damaged or of a newer app.
    """
    return Database((private_folder(folder) if folder else data_dir()) / FILE_NAME)


class Database:
    """Short transactions on one SQLite file. Thread safe; close it when done."""

    def __init__(self, path: Path) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StorageError(
                f"This Python has SQLite {sqlite3.sqlite_version}; 3.37 or newer is needed. "
                "Use a Python from python.org, uv or conda."
            )
        self.path = path.absolute()
        # One writer a process: threads queue here in order instead of polling the file's lock.
        self._writer = _engine(self.path, "BEGIN IMMEDIATE", pool_size=1, max_overflow=0)
        self._reader = _engine(self.path, "BEGIN", pool_size=5, max_overflow=-1, read_only=True)
        try:
            with _readable_errors(self.path):
                _use_wal(self.path)
                migrate(self._writer)
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path:
        """The data folder this database lies in."""
        return self.path.parent

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that writes: committed at the end of the block, undone by an exception.

        Not to be nested: the inner one would wait for the outer.
        """
        with (
            _readable_errors(self.path),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that reads one consistent state and cannot write."""
        with _readable_errors(self.path), Session(self._reader) as session:
            yield session

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when all is well."""
        with self.read() as session:
            connection = session.connection()
            found = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check")]
            broken = [str(row) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")]
        return [line for line in found if line != "ok"] + broken

    def close(self) -> None:
        """Close all connections. A later use opens new ones."""
        self._reader.dispose()
        self._writer.dispose()


def _engine(path: Path, begin: str, *, read_only: bool = False, **pool: int) -> Engine:
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": BUSY_S}, **pool)

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # the "begin" below is ours, not the driver's
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _use_wal(path: Path) -> None:
    """Switch the file to write-ahead logging, or to what RLKV_JOURNAL_MODE says.

    The mode stays in the file. Network folders need DELETE: WAL wants shared memory.
    """
    mode = os.environ.get("RLKV_JOURNAL_MODE", "WAL").upper()
    if mode not in {"WAL", "DELETE"}:
        raise StorageError(f"RLKV_JOURNAL_MODE is {mode!r}; use WAL or DELETE.")

    def switch() -> None:
        connection = sqlite3.connect(path, timeout=BUSY_S)
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        finally:
            connection.close()

    _retry_while_locked(switch)


def _retry_while_locked(action: Callable[[], None]) -> None:
    # The one place where SQLite does not wait by itself: two processes making the file at once.
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """Turn what a person can mend into a `StorageError`; let the rest through."""
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        reason = str(getattr(error, "orig", error))
        for sign, advice in _ADVICE.items():
            if sign in reason:
                raise StorageError(f"{path}: {advice}") from error
        raise


_ADVICE = {
    "disk is full": "the disk is full. Free some space and try again.",
    "readonly": "the file is read-only. Change its rights, or set RLKV_DATA_DIR.",
    "unable to open": "the file cannot be opened. Check its rights, or set RLKV_DATA_DIR.",
    "not a database": "this is not a database. Move it away, or set RLKV_DATA_DIR.",
    "malformed": "the database is damaged. Move it away or restore a backup.",
    "is locked": "another process has held the database for too long. Try again.",
}
