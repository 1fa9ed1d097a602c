"""How the database came to its present shape: numbered steps, each run once, in one transaction.

A step is written in SQL and never edited after a release: `schema.py` shows the newest shape,
this package the way there. To change the schema, add the next ``mNNN_...`` in a module of its own,
import it below, and add a database of the schema before it to ``tests/storage/schemas``.
"""

import time
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from storage.errors import StorageError
from storage.migrations import (
    m001_to_m004,
    m005_deleted_masks,
    m006_owners,
    m007_ids_used_once,
)
from storage.migrations.steps import MIGRATIONS, Migration, run

__all__ = [
    "MIGRATIONS",
    "Migration",
    "m001_to_m004",
    "m005_deleted_masks",
    "m006_owners",
    "m007_ids_used_once",
    "migrate",
]


def schema_version(connection: Connection) -> int:
    """Number of the newest step applied to this database, 0 for an empty file."""
    known = connection.execute(
        text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_migrations'")
    ).scalar()
    if not known:
        return 0
    return connection.execute(text("SELECT max(number) FROM _migrations")).scalar() or 0


def migrate(engine: Engine, steps: Sequence[Migration] | None = None) -> None:
    """Apply the steps that this database has not seen.

    ``engine`` must open transactions with BEGIN IMMEDIATE: the version is read under the same
    lock as the step is applied, so two processes that open a new file at once do it once.

    Raises:
        StorageError: the database was written by a newer version of the app.
    """
    steps = MIGRATIONS if steps is None else steps
    while _apply_next(engine, steps):
        pass


def _apply_next(engine: Engine, steps: Sequence[Migration]) -> bool:
    with engine.begin() as connection:
        version = schema_version(connection)
        if version > len(steps):
            raise StorageError(
                f"{engine.url.database} has schema {version}, this version of the app knows "
                f"{len(steps)}. Update the app, or set RLKV_DATA_DIR to another folder."
            )
        if version == len(steps):
            return False
        if version == 0:
            run(connection, APPLIED)
        steps[version](connection)
        connection.execute(
            text("INSERT INTO _migrations VALUES (:number, :name, :at)"),
            {"number": version + 1, "name": steps[version].__name__, "at": time.time()},
        )
    return True


APPLIED = """
CREATE TABLE _migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at REAL NOT NULL
) STRICT;
"""
