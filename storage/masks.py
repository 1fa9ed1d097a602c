"""Saved head masks. Knows their columns, not what a mask means."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import StorageError
from storage.schema import MaskTable, detached, new_id

COLUMNS = (
    "name",
    "model",
    "revision",
    "layers",
    "kv_heads",
    "scores",
    "kept",
    "sink",
    "recent",
    "info",
)


@dataclass(frozen=True)
class MaskRow:
    """One saved mask."""

    id: str
    name: str
    model: str
    revision: str
    layers: int
    kv_heads: int
    scores: bytes  # float32, little endian, row-major [layers, kv_heads]
    kept: bytes  # one byte a head, 0 or 1, row-major [layers, kv_heads]
    sink: int
    recent: int
    info: dict[str, Any]
    job_id: str | None
    parent_id: str | None
    created_at: float
    deleted_at: float | None = None

    def to_record(self) -> dict[str, Any]:
        """The mask without its place in the database: what `Masks.save` takes."""
        return {name: getattr(self, name) for name in COLUMNS}


class Masks:
    """All saved masks."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def save(
        self,
        record: Mapping[str, Any],
        *,
        job_id: str | None = None,
        parent_id: str | None = None,
    ) -> MaskRow:
        """Store a mask under a new id.

        Raises:
            StorageError: a column is missing or unknown, or the bytes do not fit the shape.
        """
        with self._db.write() as session:
            return insert_mask(session, record, job_id=job_id, parent_id=parent_id)

    def get(self, mask_id: str) -> MaskRow:
        """Raises StorageError if there is no such mask, or it was deleted."""
        with self._db.read() as session:
            return detached(MaskRow, _found(session, mask_id))

    def list(self, model: str | None = None, job_id: str | None = None) -> Sequence[MaskRow]:
        """Masks of all models or one, of all jobs or one; newest first."""
        statement = select(MaskTable).where(MaskTable.deleted_at.is_(None))
        statement = statement.order_by(MaskTable.created_at.desc(), MaskTable.id.desc())
        if model is not None:
            statement = statement.where(MaskTable.model == model)
        if job_id is not None:
            statement = statement.where(MaskTable.job_id == job_id)
        with self._db.read() as session:
            return [detached(MaskRow, row) for row in session.scalars(statement)]

    def rename(self, mask_id: str, name: str) -> MaskRow:
        """Give a mask another name.

        Raises:
            StorageError: there is no such mask, or the name is empty.
        """
        if not name.strip():
            raise StorageError("A mask needs a name.")
        with self._db.write() as session:
            row = _found(session, mask_id)
            row.name = name.strip()
            return detached(MaskRow, row)

    def delete(self, mask_id: str) -> MaskRow:
        """Put a mask aside: it is in no list any more, and `restore` brings it back.

        Raises:
            StorageError: there is no such mask, or it was deleted already.
        """
        with self._db.write() as session:
            row = _found(session, mask_id)
            row.deleted_at = time.time()
            return detached(MaskRow, row)

    def deleted(self, most: int = 50) -> Sequence[MaskRow]:
        """What was deleted and can be restored, the last one first."""
        statement = select(MaskTable).where(MaskTable.deleted_at.is_not(None))
        statement = statement.order_by(MaskTable.deleted_at.desc()).limit(most)
        with self._db.read() as session:
            return [detached(MaskRow, row) for row in session.scalars(statement)]

    def restore(self, mask_id: str) -> MaskRow:
        """Bring a deleted mask back as it was; one that is there stays as it is.

        Raises:
            StorageError: there is no such mask.
        """
        with self._db.write() as session:
            row = _found(session, mask_id, deleted=True)
            row.deleted_at = None
            return detached(MaskRow, row)

    def forget(self, mask_id: str) -> None:
        """Remove a deleted mask for good; masks made from it stay.

        Raises:
            StorageError: there is no such mask, or it was not deleted first.
        """
        with self._db.write() as session:
            row = _found(session, mask_id, deleted=True)
            if row.deleted_at is None:
                raise StorageError("Only a deleted mask can be removed for good.")
            session.delete(row)


def insert_mask(
    session: Session,
    record: Mapping[str, Any],
    *,
    job_id: str | None = None,
    parent_id: str | None = None,
) -> MaskRow:
    """Store a mask within a transaction (`Jobs.finish` ends a job in the same one)."""
    _check(record)
    row = MaskTable(
        **record, id=new_id(), job_id=job_id, parent_id=parent_id, created_at=time.time()
    )
    session.add(row)
    session.flush()
    return detached(MaskRow, row)


def _found(session: Session, mask_id: str, *, deleted: bool = False) -> MaskTable:
    """The mask; one that was deleted only if `deleted`."""
    row = session.get(MaskTable, mask_id)
    if row is None or (row.deleted_at is not None and not deleted):
        raise StorageError(f"There is no mask {mask_id}. It may have been deleted.")
    return row


def _check(record: Mapping[str, Any]) -> None:
    if set(record) != set(COLUMNS):
        wrong = ", ".join(sorted(set(record) ^ set(COLUMNS)))
        raise StorageError(f"A mask record has exactly {', '.join(COLUMNS)}; look at: {wrong}.")
    heads = record["layers"] * record["kv_heads"]
    if len(record["scores"]) != 4 * heads or len(record["kept"]) != heads:
        raise StorageError(
            f"The scores or kept heads of the mask are not {record['layers']} x "
            f"{record['kv_heads']} in size."
        )
