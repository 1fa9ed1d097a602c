"""Step 5."""

from sqlalchemy import Connection

from storage.migrations.steps import migration, run


@migration
def m005_deleted_masks(connection: Connection) -> None:
    """Deleted masks are put aside, so that they can be brought back."""
    run(connection, "ALTER TABLE masks ADD COLUMN deleted_at REAL;\n")
