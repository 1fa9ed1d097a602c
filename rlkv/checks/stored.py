"""The database: SQLite's version, the file itself, and the file system that it lies on."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psutil

from rlkv.checks import Check
from rlkv.checks.disks import existing
from rlkv.errors import UserError

NETWORK = (
    "nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "fuse.",
)  # fmt: skip
"""How names of file systems begin whose locks may not reach other machines, or do nothing."""
LOCAL_FUSE = ("fuse.ntfs", "fuse.exfat", "fuse.ext", "fuse.overlay", "fuse.fuse-overlayfs")


def sqlite(found: Sequence[int] = sqlite3.sqlite_version_info) -> Check:
    """The SQLite that this Python brings."""
    from rlkv.worker.data import OLDEST_SQLITE

    detail = ".".join(map(str, found))
    if tuple(found) >= OLDEST_SQLITE:
        return Check("sqlite", True, detail)
    oldest = ".".join(map(str, OLDEST_SQLITE[:2]))
    advice = f"{oldest} or newer is needed: use a Python from python.org, uv or conda."
    return Check("sqlite", False, detail, advice)


def database() -> Check:
    """Opens the database and has SQLite look through all of it."""
    from rlkv.worker import check_database

    return Check("database", True, check_database())


def file_system(folder: Path | None = None, kind: str | None = None) -> Check:
    """Whether SQLite's write-ahead log and locks work where the database lies.

    Args:
        folder: the data folder.
        kind: the file system's name; what the system says where it is None.
    """
    from rlkv.worker.data import data_folder

    place = existing(data_folder() if folder is None else folder)
    kind = kind_of(place) if kind is None else kind
    without_wal = os.environ.get("RLKV_JOURNAL_MODE", "").upper() == "DELETE"
    detail = f"{kind or 'unknown'}, " + ("without WAL" if without_wal else "WAL")
    if on_network(kind) and not without_wal:
        advice = (
            "Write-ahead logging is not safe on a network file system. Set RLKV_DATA_DIR to a "
            "folder on this machine's own disk, or RLKV_JOURNAL_MODE=DELETE."
        )
        return Check("file system", False, detail, advice)
    if why := why_not_locked(place, "DELETE" if without_wal else "WAL"):
        raise UserError(
            f"SQLite can't work in {place}: {why}. Set RLKV_DATA_DIR to a folder on this machine's "
            "own disk."
        )
    return Check("file system", True, f"{detail}, locks hold")


def kind_of(place: Path) -> str:
    """The name of the file system that a folder lies on; "" where nobody says."""
    resolved = place.resolve()
    found = [
        (len(part.mountpoint), part.fstype)
        for part in psutil.disk_partitions(all=True)
        if resolved.is_relative_to(part.mountpoint)
    ]
    return max(found)[1] if found else ""


def on_network(kind: str) -> bool:
    """Whether a file system's name is that of one on a network."""
    name = kind.lower()
    return name.startswith(NETWORK) and not name.startswith(LOCAL_FUSE)


def why_not_locked(folder: Path, mode: str) -> str:
    """Tries it: two connections to a small database. "" where the log and the locks work."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="doctor-") as made:
            return _tried(Path(made) / "try.sqlite3", mode)
    except (OSError, sqlite3.Error) as error:
        return str(error)


def _tried(path: Path, mode: str) -> str:
    with (
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as first,
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as second,
    ):
        got = first.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0]
        if got.upper() != mode:
            return f"it wrote in {got} mode"
        first.execute("CREATE TABLE tried (n INTEGER)")
        first.execute("BEGIN IMMEDIATE")
        first.execute("INSERT INTO tried VALUES (1)")
        try:
            second.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            first.execute("COMMIT")
        else:
            return "two writers were let in at once"
        seen = second.execute("SELECT n FROM tried").fetchall()
        return "" if seen == [(1,)] else "a second connection did not see what the first wrote"
