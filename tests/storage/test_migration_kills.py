"""kill -9 at random moments while an old database is brought up to date.

Whatever is found afterwards is the database after some number of whole steps, and opening it again
leads to the same as if nobody had been killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from storage import database
from storage.database import FILE_NAME, open_database
from storage.launching import ROOT
from storage.migrations import MIGRATIONS, migrate
from tests.storage.test_migrations import SCHEMAS, build

CHATS = 1500
"""Enough for the migration of an old database to take a good part of a second."""
KILLS = int(os.environ.get("RLKV_KILLS", "5"))

OPENER = """
import sys
from pathlib import Path
from storage.database import open_database
print("begun", flush=True)
open_database(Path(sys.argv[1])).close()
print("done", flush=True)
"""


def old_database(folder: Path) -> Path:
    """A database of the first schema with many conversations."""
    folder.mkdir()
    build(folder, SCHEMAS[0])
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        for n in range(CHATS):
            connection.execute(
                "INSERT INTO chats VALUES (?, 'tracer', ?, '{}', ?, ?)", (f"c{n}", f"no {n}", n, n)
            )
            stats = json.dumps({"bytes": n, "tokens": 5, "seconds": 0.5})
            connection.executemany(
                "INSERT INTO messages (chat_id, role, content, side, stats, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (f"c{n}", "user", f"question {n}", None, "{}", n),
                    (f"c{n}", "assistant", f"answer {n}", "full", stats, n),
                    (f"c{n}", "assistant", f"other {n}", "compressed", stats, n),
                ],
            )
        connection.commit()
    return folder


def contents(folder: Path) -> tuple[int, str]:
    """The number of steps applied, and all tables, indices and rows but the times of the steps."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        steps = connection.execute(
            "SELECT number, name FROM _migrations ORDER BY number"
        ).fetchall()
        assert [name for _, name in steps] == [one.__name__ for one in MIGRATIONS[: len(steps)]]
        dump = (line for line in connection.iterdump() if '"_migrations"' not in line)
        return len(steps), "\n".join(dump)


def unbroken(folder: Path) -> dict[int, str]:
    """Contents after every number of steps, where nobody is killed."""
    found = dict([contents(folder)])
    engine = database._engine(folder / FILE_NAME, "BEGIN IMMEDIATE")
    for number in range(2, len(MIGRATIONS) + 1):
        migrate(engine, MIGRATIONS[:number])
        found |= dict([contents(folder)])
    engine.dispose()
    return found


@contextmanager
def opening(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is about to open the database, and says when it has."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPENER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        yield process


def seconds_of(folder: Path) -> float:
    """How long the migration takes there."""
    with opening(folder) as process:
        begun = time.monotonic()
        assert process.stdout
        assert process.stdout.readline() == "done\n"
        return time.monotonic() - begun


def killed_after(folder: Path, seconds: float) -> None:
    with opening(folder) as process:
        time.sleep(seconds)
        process.kill()
    assert process.returncode in (0, -signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_at_any_moment_leaves_whole_steps(tmp_path: Path) -> None:
    chance = random.Random(8)
    newest = len(MIGRATIONS)
    expected = unbroken(old_database(tmp_path / "unbroken"))
    assert sorted(expected) == list(range(1, newest + 1))
    timed = old_database(tmp_path / "timed")
    seconds = seconds_of(timed)
    assert contents(timed) == (newest, expected[newest])
    reached = []
    for n in range(KILLS):
        folder = old_database(tmp_path / f"killed{n}")
        killed_after(folder, chance.uniform(0, 0.9) * seconds)
        steps, found = contents(folder)
        assert found == expected[steps]
        reached.append(steps)
        open_database(folder).close()
        assert contents(folder) == (newest, expected[newest])
    assert min(reached) < newest, "every kill came too late to be one"
