"""What a job tells while it runs: numbers per step, gate snapshots, and a log for people.

Writing the same step again replaces it, so a resumed worker may repeat what it did before.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import StorageError
from storage.owners import Owner, of_job, seen
from storage.schema import EventTable, JobTable, MetricTable, SnapshotTable, detached

Series = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Event:
    """One line of a job's log. ``level`` is "info", "warning" or "error"."""

    id: int
    job_id: str
    at: float
    level: str
    text: str


class Metrics:
    """The numbers, snapshots and events of all jobs; ``owner`` reads those of jobs they see."""

    def __init__(self, db: Database, owner: Owner = None) -> None:
        self._db, self._owner = db, owner

    def log(self, job_id: str, step: int, values: Mapping[str, float]) -> None:
        """Store the numbers of one step, replacing those of the same names."""
        self.log_many(job_id, [(step, values)])

    def log_many(self, job_id: str, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Store the numbers of several steps in one transaction."""
        rows = [
            {"job_id": job_id, "step": int(step), "name": name, "value": _stored(value)}
            for step, values in steps
            for name, value in values.items()
        ]
        if not rows:
            return
        statement = insert(MetricTable)
        statement = statement.on_conflict_do_update(
            index_elements=["job_id", "name", "step"], set_={"value": statement.excluded.value}
        )
        with self._db.write() as session:
            touch(session, job_id)
            session.connection().execute(statement, rows)

    def series(
        self,
        job_id: str,
        names: Sequence[str] | None = None,
        since_step: int = -1,
        max_points: int = 2000,
    ) -> Series:
        """Curves by name, each ordered by step and thinned to at most ``max_points`` points.

        Thinning keeps every k-th point and the last one; kept values are never averaged.
        Names without a point after ``since_step`` are left out.
        """
        if max_points < 2:
            raise StorageError(f"max_points is {max_points}; at least 2 are needed.")
        numbered = select(
            MetricTable.name,
            MetricTable.step,
            MetricTable.value,
            func.row_number()
            .over(partition_by=MetricTable.name, order_by=MetricTable.step)
            .label("place"),
            func.count().over(partition_by=MetricTable.name).label("total"),
        ).where(of_job(MetricTable, job_id, self._owner), MetricTable.step > since_step)
        if names is not None:
            numbered = numbered.where(MetricTable.name.in_(names))
        point = numbered.subquery().c
        stride = func.max(1, (point.total + max_points - 3) // (max_points - 1))
        thinned = select(point.name, point.step, point.value).where(
            ((point.place - 1) % stride == 0) | (point.place == point.total)
        )
        curves: Series = {}
        with self._db.read() as session:
            for name, step, value in session.execute(thinned.order_by(point.name, point.step)):
                curves.setdefault(name, []).append((step, _loaded(value)))
        return curves

    def latest(self, job_id: str) -> dict[str, float]:
        """The newest number of every name."""
        newest = (
            select(MetricTable.name, func.max(MetricTable.step).label("step"))
            .where(of_job(MetricTable, job_id, self._owner))
            .group_by(MetricTable.name)
            .subquery()
        )
        statement = select(MetricTable.name, MetricTable.value).join(
            newest, (MetricTable.name == newest.c.name) & (MetricTable.step == newest.c.step)
        )
        with self._db.read() as session:
            rows = session.execute(statement.where(MetricTable.job_id == job_id)).all()
        return {name: _loaded(value) for name, value in rows}

    def add_snapshot(
        self, job_id: str, step: int, gates: bytes, layers: int, kv_heads: int
    ) -> None:
        """Store all gates after one step: float32, little endian, row-major [layers, kv_heads].

        Raises:
            StorageError: the bytes do not have that shape, or there is no such job.
        """
        if len(gates) != 4 * layers * kv_heads:
            raise StorageError(
                f"{len(gates)} bytes are not {layers} x {kv_heads} gates of 4 bytes each."
            )
        values = {"layers": layers, "kv_heads": kv_heads, "gates": gates}
        statement = insert(SnapshotTable).values(job_id=job_id, step=step, **values)
        statement = statement.on_conflict_do_update(index_elements=["job_id", "step"], set_=values)
        with self._db.write() as session:
            touch(session, job_id)
            session.execute(statement)

    def snapshots(self, job_id: str, since_step: int = -1) -> list[tuple[int, bytes]]:
        """(step, gates) of every stored step after ``since_step``, oldest first."""
        statement = (
            select(SnapshotTable.step, SnapshotTable.gates)
            .where(of_job(SnapshotTable, job_id, self._owner), SnapshotTable.step > since_step)
            .order_by(SnapshotTable.step)
        )
        with self._db.read() as session:
            return [(step, gates) for step, gates in session.execute(statement)]

    def latest_snapshot(self, job_id: str) -> tuple[int, bytes] | None:
        """(step, gates) of the newest stored step."""
        with self._db.read() as session:
            row = session.scalar(_newest_snapshot(job_id, self._owner))
            return (row.step, row.gates) if row else None

    def snapshot_shape(self, job_id: str) -> tuple[int, int] | None:
        """(layers, kv_heads) of the job's snapshots."""
        with self._db.read() as session:
            row = session.scalar(_newest_snapshot(job_id, self._owner))
            return (row.layers, row.kv_heads) if row else None

    def truncate_after(self, job_id: str, step: int) -> None:
        """Forget metrics and snapshots beyond ``step``: the worker resumes from there."""
        with self._db.write() as session:
            touch(session, job_id)
            for table in (MetricTable, SnapshotTable):
                session.execute(delete(table).where(table.job_id == job_id, table.step > step))

    def add_event(self, job_id: str, level: str, text: str) -> None:
        """Add a line to the job's log for people."""
        with self._db.write() as session:
            touch(session, job_id)
            note(session, job_id, level, text)

    def events(self, job_id: str, since_id: int = 0, limit: int = 500) -> list[Event]:
        """The last ``limit`` lines of the log after event ``since_id``, oldest first."""
        statement = (
            select(EventTable)
            .where(of_job(EventTable, job_id, self._owner), EventTable.id > since_id)
            .order_by(EventTable.id.desc())
            .limit(limit)
        )
        with self._db.read() as session:
            return [detached(Event, row) for row in session.scalars(statement)][::-1]

    def version(self, job_id: str) -> int:
        """A number that grows when the job or anything said about it changes; 0 for no job."""
        with self._db.read() as session:
            seen_job = (JobTable.id == job_id) & seen(JobTable, self._owner)
            return session.scalar(select(JobTable.changes).where(seen_job)) or 0


def touch(session: Session, job_id: str) -> None:
    """Count a visible change of a job, for `Metrics.version`.

    Raises:
        StorageError: there is no such job.
    """
    changed = session.execute(
        update(JobTable)
        .where(JobTable.id == job_id)
        .values(changes=JobTable.changes + 1)
        .returning(JobTable.id)
    )
    if changed.scalar() is None:
        raise StorageError(f"There is no job {job_id}.")


def note(session: Session, job_id: str, level: str, text: str) -> None:
    """Add a line to a job's log within a transaction."""
    session.add(EventTable(job_id=job_id, at=time.time(), level=level, text=text))


def _newest_snapshot(job_id: str, owner: Owner) -> Any:
    return (
        select(SnapshotTable)
        .where(of_job(SnapshotTable, job_id, owner))
        .order_by(SnapshotTable.step.desc())
        .limit(1)
    )


def _stored(value: float) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number


def _loaded(value: float | None) -> float:
    return math.nan if value is None else value
