"""Step 6."""

from sqlalchemy import Connection

from storage.migrations.steps import migration, run


@migration
def m006_owners(connection: Connection) -> None:
    """Whose rows they are, on a copy that visitors share, and when a visitor was last there."""
    run(
        connection,
        """
ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE masks ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE chats ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE votes ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_by_owner ON jobs (owner, created_at);
CREATE INDEX masks_by_owner ON masks (owner, created_at);
CREATE INDEX chats_by_owner ON chats (owner, updated_at);
CREATE INDEX votes_by_owner ON votes (owner);
CREATE TABLE visitors (
    id TEXT PRIMARY KEY,
    seen_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
""",
    )
