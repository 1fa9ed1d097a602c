"""What a step is, and how its SQL is run."""

from collections.abc import Callable

from sqlalchemy import Connection

Migration = Callable[[Connection], None]
MIGRATIONS: list[Migration] = []


def migration(step: Migration) -> Migration:
    """Register a step; its number is its place in the list, so modules are imported in order."""
    MIGRATIONS.append(step)
    return step


def run(connection: Connection, script: str) -> None:
    """Run statements divided by semicolons at line ends, in the transaction that is open."""
    # Not executescript: that commits what is open before it starts.
    for statement in script.split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
