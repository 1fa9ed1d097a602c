"""Step 7."""

from sqlalchemy import Connection

from storage.migrations.steps import migration, run


@migration
def m007_ids_used_once(connection: Connection) -> None:
    """No message gets the id of a deleted one, which an old tab may still show.

    SQLite can't add AUTOINCREMENT to a table, so it is made anew. Dropping the old one deletes its
    rows, upon which votes forget their messages: what they knew is put aside and given back.
    """
    run(
        connection,
        """
CREATE TEMP TABLE voted AS
    SELECT id, message_id FROM votes WHERE message_id IS NOT NULL;
CREATE TABLE messages_once (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    side TEXT,
    stats TEXT NOT NULL,
    created_at REAL NOT NULL,
    parent_id INTEGER REFERENCES messages_once (id),
    tokens BLOB
) STRICT;
INSERT INTO messages_once
    SELECT id, chat_id, role, content, side, stats, created_at, parent_id, tokens
    FROM messages ORDER BY id;
DROP TABLE messages;
ALTER TABLE messages_once RENAME TO messages;
CREATE INDEX messages_by_chat ON messages (chat_id, id);
CREATE INDEX messages_by_parent ON messages (parent_id);
UPDATE votes SET message_id = (SELECT message_id FROM voted WHERE voted.id = votes.id)
    WHERE id IN (SELECT id FROM voted);
DROP TABLE voted;
""",
    )
