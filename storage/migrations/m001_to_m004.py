"""Steps 1 to 4."""

import json
import zlib
from typing import Any

from sqlalchemy import Connection, text

from storage.migrations.steps import migration, run


@migration
def m001_initial(connection: Connection) -> None:
    """Jobs with their metrics, gate snapshots and events; masks; chats."""
    run(
        connection,
        """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    request_key TEXT UNIQUE,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    params TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    stop_requested INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    worker_id TEXT,
    pid INTEGER,
    pid_start_time REAL,
    host TEXT,
    boot_id TEXT,
    lease_until REAL,
    heartbeat_at REAL,
    step INTEGER NOT NULL,
    total_steps INTEGER NOT NULL,
    progress_at_claim INTEGER NOT NULL,
    message TEXT NOT NULL,
    exit_code INTEGER,
    created_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    resume_of TEXT REFERENCES jobs (id) ON DELETE SET NULL,
    code_version TEXT NOT NULL,
    seed INTEGER NOT NULL,
    changes INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, priority, created_at);
CREATE INDEX jobs_by_resume_of ON jobs (resume_of);
CREATE TABLE metrics (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    PRIMARY KEY (job_id, name, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshots (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    layers INTEGER NOT NULL,
    kv_heads INTEGER NOT NULL,
    gates BLOB NOT NULL,
    PRIMARY KEY (job_id, step)
) STRICT;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    level TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job_id, id);
CREATE TABLE masks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    layers INTEGER NOT NULL,
    kv_heads INTEGER NOT NULL,
    scores BLOB NOT NULL,
    kept BLOB NOT NULL,
    sink INTEGER NOT NULL,
    recent INTEGER NOT NULL,
    info TEXT NOT NULL,
    job_id TEXT REFERENCES jobs (id) ON DELETE SET NULL,
    parent_id TEXT REFERENCES masks (id) ON DELETE SET NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX masks_by_model ON masks (model, created_at);
CREATE INDEX masks_by_job ON masks (job_id);
CREATE INDEX masks_by_parent ON masks (parent_id);
CREATE TABLE chats (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    title TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    side TEXT,
    stats TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX messages_by_chat ON messages (chat_id, id);
""",
    )


@migration
def m002_phases_and_provenance(connection: Connection) -> None:
    """Which phase a job is in, what it runs on, and which job's settings it took."""
    run(
        connection,
        """
ALTER TABLE jobs ADD COLUMN phase TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN phase_done INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN phase_total INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN versions TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN cloned_from TEXT REFERENCES jobs (id) ON DELETE SET NULL;
CREATE INDEX jobs_by_cloned_from ON jobs (cloned_from);
""",
    )


@migration
def m003_evaluations(connection: Connection) -> None:
    """What an evaluation asks, under what, and every single answer."""
    run(
        connection,
        """
CREATE TABLE problems (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (job_id, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE cells (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    place INTEGER NOT NULL,
    info TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE samples (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    cell TEXT NOT NULL,
    problem INTEGER NOT NULL,
    draw INTEGER NOT NULL,
    text TEXT NOT NULL,
    verdict TEXT NOT NULL,
    stop TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    length INTEGER NOT NULL,
    kv_bytes INTEGER NOT NULL,
    PRIMARY KEY (job_id, cell, problem, draw)
) STRICT, WITHOUT ROWID;
""",
    )


@migration
def m004_branches_and_votes(connection: Connection) -> None:
    """Conversations become trees; one answer holds all its sides; votes."""
    run(
        connection,
        """
ALTER TABLE chats ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE chats ADD COLUMN leaf INTEGER;
ALTER TABLE messages ADD COLUMN parent_id INTEGER REFERENCES messages (id);
ALTER TABLE messages ADD COLUMN tokens BLOB;
CREATE INDEX messages_by_parent ON messages (parent_id);
CREATE TABLE votes (
    id INTEGER PRIMARY KEY,
    chat_id TEXT REFERENCES chats (id) ON DELETE SET NULL,
    message_id INTEGER UNIQUE REFERENCES messages (id) ON DELETE SET NULL,
    model TEXT NOT NULL,
    choice TEXT NOT NULL,
    left_mask TEXT NOT NULL,
    left_sparsity REAL NOT NULL,
    right_mask TEXT NOT NULL,
    right_sparsity REAL NOT NULL,
    settings TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT;
CREATE INDEX votes_by_chat ON votes (chat_id);
""",
    )
    _join_sides(connection)


def _join_sides(connection: Connection) -> None:
    """Until schema 3 each side's answer was a message: one now holds all of a question's."""
    rows = connection.execute(
        text("SELECT id, chat_id, role, content, side, stats FROM messages ORDER BY chat_id, id")
    ).all()
    last: dict[str, int] = {}
    answers: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        before = last.get(row.chat_id)
        if row.role == "assistant":
            one = _as_side(row.side or "", row.content, json.loads(row.stats))
            if before in answers:  # another side of the same question
                one["slot"] = len(answers[before])
                answers[before].append(one)
                connection.execute(text("DELETE FROM messages WHERE id = :id"), {"id": row.id})
                continue
            answers[row.id] = [one]
        connection.execute(
            text("UPDATE messages SET parent_id = :before WHERE id = :id"),
            {"before": before, "id": row.id},
        )
        last[row.chat_id] = row.id
    for key, sides in answers.items():
        # The text of a side is read off its tokens: here one long one, nothing else is known.
        tokens = zlib.compress(json.dumps([{"t": [side["text"]]} for side in sides]).encode())
        connection.execute(
            text(
                "UPDATE messages SET side = NULL, stats = :stats, tokens = :tokens WHERE id = :id"
            ),
            {"stats": json.dumps({"sides": sides}), "tokens": tokens, "id": key},
        )
    for chat, leaf in last.items():
        connection.execute(
            text("UPDATE chats SET leaf = :leaf WHERE id = :chat"), {"leaf": leaf, "chat": chat}
        )


def _as_side(name: str, content: str, stats: dict[str, Any]) -> dict[str, Any]:
    """One side as conversations keep it since schema 4 (`rlkv/dialogue/record.py`)."""
    names = {"tokens": "tokens", "length": "length", "kv_bytes": "bytes", "seconds": "seconds"}
    now = {new: stats[old] for old, new in names.items() if old in stats}
    if stats.get("seconds") and "tokens" in stats:
        now["speed"] = (stats["tokens"] - 1) / stats["seconds"]
    if stats.get("stop_reason"):
        now["stop"] = stats["stop_reason"]
    role = "full" if name == "full" else "comp"
    return {"slot": 0, "role": role, "name": name.capitalize(), "text": content, "now": now}
