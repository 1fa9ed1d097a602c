"""Databases of every released schema open; a step is applied whole or not at all."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from storage.chats import Chats
from storage.database import FILE_NAME, Database, open_database
from storage.errors import StorageError
from storage.jobs import Jobs
from storage.launching import ROOT
from storage.masks import Masks
from storage.metrics import Metrics
from storage.migrations import MIGRATIONS, migrate
from storage.schema import Table

SCHEMAS = sorted((Path(__file__).parent / "schemas").glob("*.sql"))


def build(folder: Path, script: Path) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    connection.executescript(script.read_text())
    connection.close()


def rows(folder: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(folder / FILE_NAME)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_there_is_a_database_of_every_schema() -> None:
    assert [int(path.stem) for path in SCHEMAS] == list(range(1, len(MIGRATIONS) + 1))
    for number, step in enumerate(MIGRATIONS, 1):
        assert step.__name__.startswith(f"m{number:03d}_")


@pytest.mark.parametrize("script", SCHEMAS, ids=lambda path: path.stem)
def test_an_old_database_opens_with_all_it_held(tmp_path: Path, script: Path) -> None:
    build(tmp_path, script)

    db = open_database(tmp_path)
    job = Jobs(db).list()[0]
    mask = Masks(db).list()[0]
    chat = Chats(db).get(Chats(db).list()[0].id)
    metrics = Metrics(db)

    assert (job.title, job.state, job.params) == ("Quick", "done", {"beta": 0.05})
    assert metrics.series(job.id) == {"reward": [(1, 0.25), (2, 0.5)]}
    assert metrics.latest_snapshot(job.id) == (2, bytes(24))
    assert [event.text for event in metrics.events(job.id)] == ["Hardening begins.", "Learned."]
    assert (mask.name, mask.job_id, mask.kept) == ("half", job.id, b"\1\0\1\0\1\0")
    assert [(m.role, m.content) for m in chat.messages] == [("user", "a=3; ?a"), ("assistant", "3")]
    assert chat.messages[1].parent_id == chat.messages[0].id
    (side,) = chat.messages[1].stats["sides"]
    assert (side["name"], side["text"], side["now"]) == ("Full", "3", {"bytes": 9})
    answer = chat.messages[1].id
    assert Chats(db).tokens(chat.id, [answer])[answer][0]["t"] == ["3"]
    assert db.check() == []
    db.close()


@pytest.mark.parametrize("script", SCHEMAS[3:], ids=lambda path: path.stem)
def test_votes_know_their_answers_after_every_step(tmp_path: Path, script: Path) -> None:
    build(tmp_path, script)
    known = "SELECT id, chat_id, message_id FROM votes"
    before = rows(tmp_path, known)
    open_database(tmp_path).close()
    assert rows(tmp_path, known) == before
    assert [answer for _, _, answer in before] == [2]


def test_the_steps_lead_to_the_tables_of_the_code(db: Database) -> None:
    for table in Table.metadata.sorted_tables:
        columns = {
            name: (kind, not required and not key, bool(key))
            for _, name, kind, required, _, key in rows(
                db.folder, f"PRAGMA table_info({table.name})"
            )
        }
        expected = {c.name: (sqlite_type(c), bool(c.nullable), c.primary_key) for c in table.c}
        assert columns == expected, table.name


def sqlite_type(column: Any) -> str:
    kinds = {"VARCHAR": "TEXT", "JSON": "TEXT", "DOUBLE": "REAL", "BOOLEAN": "INTEGER"}
    return kinds.get(str(column.type), str(column.type))


def test_opening_again_applies_nothing(tmp_path: Path) -> None:
    open_database(tmp_path).close()
    applied = rows(tmp_path, "SELECT * FROM _migrations")
    open_database(tmp_path).close()

    assert rows(tmp_path, "SELECT * FROM _migrations") == applied
    assert [row[1] for row in applied] == [step.__name__ for step in MIGRATIONS]


def test_a_newer_database_is_refused_with_advice(tmp_path: Path) -> None:
    db = open_database(tmp_path)
    migrate(db._writer, [*MIGRATIONS, add_table])
    db.close()

    newer = len(MIGRATIONS) + 1
    with pytest.raises(StorageError, match=rf"schema {newer}, .* knows {newer - 1}. Update"):
        open_database(tmp_path)


def test_a_step_that_fails_leaves_no_trace(db: Database) -> None:
    def break_off(connection: Connection) -> None:
        add_table(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        migrate(db._writer, [*MIGRATIONS, break_off])
    assert added_tables(db.folder) == []

    migrate(db._writer, [*MIGRATIONS, add_table])
    assert added_tables(db.folder) == [("added",)]


def test_kill_9_in_the_middle_of_a_step_leaves_no_trace(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from storage.database import open_database
from storage.migrations import MIGRATIONS, migrate

def die(connection):
    connection.exec_driver_sql("CREATE TABLE added (x)")
    connection.exec_driver_sql("INSERT INTO added VALUES (1)")
    os.kill(os.getpid(), signal.SIGKILL)

migrate(open_database(Path(sys.argv[1]))._writer, [*MIGRATIONS, die])
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL

    db = open_database(tmp_path)
    assert db.check() == []
    assert added_tables(tmp_path) == []
    migrate(db._writer, [*MIGRATIONS, add_table])
    assert added_tables(tmp_path) == [("added",)]
    db.close()


def add_table(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE added (x)")


def added_tables(folder: Path) -> list[Any]:
    return rows(folder, "SELECT name FROM sqlite_master WHERE name = 'added'")
