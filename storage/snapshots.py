"""Copies of the database on a disk that outlives this machine, such as a Space's bucket.

Such a disk may have no file locks and no room, and may be cut off in the middle of a write. So the
live database never lies there; a copy is made and checked on the local disk, and gets its name,
which holds its time and its hash, only when all of it is written. A file is good if its content has
the hash in its name: there is no second file that could be torn apart from it.
"""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from storage.errors import StorageError

KEEP = 5
EVERY_S = 60.0
_PARTIAL = ".partial-"
_PARTIAL_S = 600.0
"""A copy that is not finished after so long never will be; its writer is gone."""
_NAME = re.compile(r"rlkv-(\d{16})-([0-9a-f]{64})\.sqlite3")

logger = logging.getLogger(__name__)


def restore(database: Path, folder: Path) -> Path | None:
    """Fetch the newest good snapshot of `folder` where there is no live database; None: nothing.

    A damaged one is passed over with a warning in the log.
    """
    if database.exists():
        return None
    local = database.with_name(f"{_PARTIAL}restore-{os.getpid()}")
    for path in listed(folder):
        try:
            if trouble := _fetched(path, local):
                logger.warning("Snapshot %s is passed over: %s.", path, trouble)
                continue
            for rest in ("-wal", "-shm"):  # of a database that is gone
                database.with_name(database.name + rest).unlink(missing_ok=True)
            local.replace(database)
            logger.info("The database was restored from %s.", path)
            return path
        except OSError as error:
            logger.warning("Snapshot %s can't be read: %s.", path, error)
        finally:
            local.unlink(missing_ok=True)
    return None


def listed(folder: Path) -> list[Path]:
    """The snapshots of a folder by their names, good or not, the newest first."""
    try:
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: path.name, reverse=True)


class Snapshots:
    """Takes them. Thread safe; `close` it when done."""

    def __init__(self, database: Path, folder: Path, keep: int = KEEP) -> None:
        self._database, self._folder, self._keep = database, folder, keep
        self._lock = threading.Lock()
        # Its data_version moves when anybody else commits, in this process or in another. It is
        # of this connection alone, so this one stays open and never writes.
        self._reader = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
        )
        self._taken: int | None = None
        self._good: set[str] = set()

    def take(self) -> Path | None:
        """A new snapshot; None if nothing has changed since the last one.

        Raises:
            StorageError: the copy is damaged.
            OSError, sqlite3.Error: it can't be made or written; the next call tries again.
        """
        with self._lock:
            version = self._reader.execute("PRAGMA data_version").fetchone()[0]
            if version == self._taken:
                return None
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._copy() as copy:
                path = self._publish(copy)
            self._taken = version  # of before the copy: what came since is for the next one
            self._tidy()
            return path

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._reader.close()

    @contextlib.contextmanager
    def _copy(self) -> Iterator[Path]:
        """A checked copy on the local disk, for as long as the block lasts."""
        path = self._database.with_name(f"{_PARTIAL}snapshot-{os.getpid()}")
        path.unlink(missing_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(path)) as copy:
                self._reader.backup(copy)
                # One file that is whole by itself, without a log beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
            if trouble := _damage(path):
                raise StorageError(f"{self._database}: the copy is damaged ({trouble}).")
            yield path
        finally:
            for rest in ("", "-journal", "-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)

    def _publish(self, copy: Path) -> Path | None:
        """Write the copy to the folder under its name; None if the newest there is the same."""
        there = listed(self._folder)
        digest = _hash(copy)
        if there and _parts(there[0])[1] == digest and self._is_good(there[0]):
            return None
        newest = _parts(there[0])[0] if there else 0
        # A clock that was set back must not make an old state the newest.
        stamp = max(time.time_ns() // 1000, newest + 1)
        path = self._folder / f"rlkv-{stamp:016}-{digest}.sqlite3"
        partial = self._folder / f"{_PARTIAL}{os.getpid()}-{stamp}"
        try:
            with copy.open("rb") as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
                target.flush()
                os.fsync(target.fileno())
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        self._good.add(path.name)
        return path

    def _tidy(self) -> None:
        """Keep the newest good ones; remove what is older, and what a killed writer left."""
        good = 0
        for path in listed(self._folder):
            if good >= self._keep:
                path.unlink(missing_ok=True)
            elif self._is_good(path):
                good += 1
        for path in self._folder.glob(f"{_PARTIAL}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _PARTIAL_S:
                    path.unlink()

    def _is_good(self, path: Path) -> bool:
        if path.name not in self._good and _hash(path) == _parts(path)[1]:
            self._good.add(path.name)
        return path.name in self._good


class Watch:
    """Takes a snapshot every minute if anything changed, and a last one at the end.

    Trouble with the disk is told in the log, and the app goes on.
    """

    def __init__(self, snapshots: Snapshots, every_s: float = EVERY_S) -> None:
        self._snapshots, self._every_s = snapshots, every_s
        self._ended = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Take the last one."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._try()
        self._snapshots.close()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            self._try()

    def _try(self) -> None:
        try:
            self._snapshots.take()
            self._trouble = ""
        except (OSError, sqlite3.Error, StorageError) as error:
            if str(error) != self._trouble:  # once, not every minute
                logger.warning(
                    "No snapshot could be written: %s. The app goes on and tries again; until one "
                    "is written, what is new is lost with this machine.",
                    error,
                )
            self._trouble = str(error)


def _fetched(path: Path, local: Path) -> str:
    """Copy a snapshot to the local disk; what is wrong with it, or ""."""
    shutil.copyfile(path, local)
    if _hash(local) != _parts(path)[1]:
        return "its content is not that of its name"
    return _damage(local)


def _damage(path: Path) -> str:
    """What SQLite finds wrong with a file that nobody else uses, or ""."""
    try:
        # Immutable: looking at it must leave no files beside it.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(path: Path) -> tuple[int, str]:
    """Microseconds since 1970 and hash, from a snapshot's name."""
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1]), found[2]
