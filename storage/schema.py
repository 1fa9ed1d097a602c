"""The tables as SQLAlchemy sees them, in their newest shape. `migrations` makes them.

Times are seconds since 1970 (UTC). These objects live inside one session: what leaves the
package are the frozen dataclasses of `jobs`, `metrics`, `masks` and `chats`.
"""

import dataclasses
import secrets
import time
from typing import Any, TypeVar

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts, and no l, o, i, u
Record = TypeVar("Record")


def new_id() -> str:
    """16 characters that sort by time (microseconds), the last five at random."""
    number = time.time_ns() // 1000 << 25 | secrets.randbits(25)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


class Table(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012 - SQLAlchemy reads it off the class


class JobTable(Table):
    """One run of a worker, from Start to its end. What the columns mean: `storage.jobs.Job`."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    request_key: Mapped[str | None] = mapped_column(unique=True)
    kind: Mapped[str]
    title: Mapped[str]
    params: Mapped[dict[str, Any]]
    model: Mapped[str]
    state: Mapped[str] = mapped_column(default="queued")
    stop_requested: Mapped[bool] = mapped_column(default=False)
    priority: Mapped[int]
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    worker_id: Mapped[str | None]
    pid: Mapped[int | None]
    pid_start_time: Mapped[float | None]
    host: Mapped[str | None]
    boot_id: Mapped[str | None]
    lease_until: Mapped[float | None]
    heartbeat_at: Mapped[float | None]
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int]
    progress_at_claim: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(default="")
    exit_code: Mapped[int | None]
    created_at: Mapped[float] = mapped_column(default=time.time)
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    resume_of: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    code_version: Mapped[str]
    seed: Mapped[int]
    changes: Mapped[int] = mapped_column(default=1)  # grows with every visible change
    phase: Mapped[str] = mapped_column(default="")
    phase_done: Mapped[int] = mapped_column(default=0)
    phase_total: Mapped[int] = mapped_column(default=0)
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    cloned_from: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    owner: Mapped[str] = mapped_column(default="")  # whose it is: `storage.owners`


class MetricTable(Table):
    """One number of one step. A NaN is stored as NULL: SQLite knows no other."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float | None]


class SnapshotTable(Table):
    """All gates after one step: float32, little endian, row-major [layers, kv_heads]."""

    __tablename__ = "snapshots"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    layers: Mapped[int]
    kv_heads: Mapped[int]
    gates: Mapped[bytes]


class EventTable(Table):
    """One line of a job's log for people."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    at: Mapped[float]
    level: Mapped[str]
    text: Mapped[str]


class MaskTable(Table):
    """A head mask; outlives the job it came from."""

    __tablename__ = "masks"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    model: Mapped[str]
    revision: Mapped[str]
    layers: Mapped[int]
    kv_heads: Mapped[int]
    scores: Mapped[bytes]  # float32, little endian, row-major [layers, kv_heads]
    kept: Mapped[bytes]  # one byte a head, 0 or 1, row-major [layers, kv_heads]
    sink: Mapped[int]
    recent: Mapped[int]
    info: Mapped[dict[str, Any]]
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("masks.id", ondelete="SET NULL"))
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]  # kept for a while, so that it can be brought back
    owner: Mapped[str] = mapped_column(default="")


class ProblemTable(Table):
    """One problem of an evaluation."""

    __tablename__ = "problems"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    prompt: Mapped[str]
    answer: Mapped[str]


class CellTable(Table):
    """One point of an evaluation's curves: a method at a sparsity."""

    __tablename__ = "cells"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int]
    info: Mapped[dict[str, Any]]


class SampleTable(Table):
    """One answer to one problem in one cell."""

    __tablename__ = "samples"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    cell: Mapped[str] = mapped_column(primary_key=True)
    problem: Mapped[int] = mapped_column(primary_key=True)
    draw: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    verdict: Mapped[str]
    stop: Mapped[str]
    tokens: Mapped[int]
    length: Mapped[int]
    kv_bytes: Mapped[int]


class ChatTable(Table):
    """A conversation with one model: a tree of messages, of which one branch is open."""

    __tablename__ = "chats"

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    title: Mapped[str]
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    updated_at: Mapped[float]
    source: Mapped[str] = mapped_column(default="")
    leaf: Mapped[int | None]  # no reference: it would go round in a circle
    owner: Mapped[str] = mapped_column(default="")


class MessageTable(Table):
    """One message of a conversation; what the columns mean: `storage.chats.Message`."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)  # never used again after a deletion
    chat_id: Mapped[str] = mapped_column(ForeignKey("chats.id", ondelete="CASCADE"))
    role: Mapped[str]
    content: Mapped[str]
    side: Mapped[str | None]
    stats: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    tokens: Mapped[bytes | None] = mapped_column(deferred=True)  # JSON, compressed by zlib


class VoteTable(Table):
    """Which of two answers was found better; outlives its conversation."""

    __tablename__ = "votes"

    id: Mapped[int] = mapped_column(primary_key=True)
    chat_id: Mapped[str | None] = mapped_column(ForeignKey("chats.id", ondelete="SET NULL"))
    message_id: Mapped[int | None] = mapped_column(
        ForeignKey("messages.id", ondelete="SET NULL"), unique=True
    )
    model: Mapped[str]
    choice: Mapped[str]  # "left", "right" or "tie"
    left_mask: Mapped[str]  # "" is the full cache
    left_sparsity: Mapped[float]
    right_mask: Mapped[str]
    right_sparsity: Mapped[float]
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    owner: Mapped[str] = mapped_column(default="")


class VisitorTable(Table):
    """When somebody who keeps something on a shared copy was last there."""

    __tablename__ = "visitors"

    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[float]


def detached(record: type[Record], row: Table) -> Record:
    """The row's columns as the frozen dataclass ``record``, free of any session."""
    names = [field.name for field in dataclasses.fields(record) if field.init]  # type: ignore[arg-type]
    return record(**{name: getattr(row, name) for name in names})
