"""Saved head masks. Knows their columns, not what a mask means."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import StorageError
from storage.limits import Limits, require_room_for_mask
from storage.owners import PUBLIC, Owner, require_own, seen, sees, written
from storage.schema import JobTable, MaskTable, Table, detached, new_id

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
    owner: str = PUBLIC

    def to_record(self) -> dict[str, Any]:
        """The mask without its place in the database: what `Masks.save` takes."""
        return {name: getattr(self, name) for name in COLUMNS}


class Masks:
    """All saved masks, or those that ``owner`` sees, who may keep as many as ``limits`` say."""

    def __init__(self, db: Database, owner: Owner = None, limits: Limits | None = None) -> None:
        self._db, self._owner, self._limits = db, owner, limits

    def save(
        self,
        record: Mapping[str, Any],
        *,
        job_id: str | None = None,
        parent_id: str | None = None,
    ) -> MaskRow:
        """Store a mask under a new id; a job or parent that is gone by then is left out.

        Raises:
            StorageError: a column is missing or unknown, the bytes do not fit the shape, or the
                owner keeps as many as they may.
        """
        with self._db.write() as session:
            self._require_room(session)
            return insert_mask(
                session,
                record,
                owner=written(self._owner),
                job_id=self._if_there(session, JobTable, job_id),
                parent_id=self._if_there(session, MaskTable, parent_id),
            )

    def get(self, mask_id: str) -> MaskRow:
        """Raises StorageError if there is no such mask, or it was deleted."""
        with self._db.read() as session:
            return detached(MaskRow, self._found(session, mask_id))

    def list(self, model: str | None = None, job_id: str | None = None) -> Sequence[MaskRow]:
        """Masks of all models or one, of all jobs or one; newest first."""
        statement = select(MaskTable).where(
            MaskTable.deleted_at.is_(None), seen(MaskTable, self._owner)
        )
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
            row = self._own(session, mask_id)
            row.name = name.strip()
            return detached(MaskRow, row)

    def delete(self, mask_id: str) -> MaskRow:
        """Put a mask aside: it is in no list any more, and `restore` brings it back.

        Raises:
            StorageError: there is no such mask, or it was deleted already.
        """
        with self._db.write() as session:
            row = self._own(session, mask_id)
            row.deleted_at = time.time()
            self._empty_trash(session)
            return detached(MaskRow, row)

    def deleted(self, most: int = 50) -> Sequence[MaskRow]:
        """What was deleted and can be restored, the last one first."""
        statement = select(MaskTable).where(
            MaskTable.deleted_at.is_not(None), seen(MaskTable, self._owner, public=False)
        )
        statement = statement.order_by(MaskTable.deleted_at.desc()).limit(most)
        with self._db.read() as session:
            return [detached(MaskRow, row) for row in session.scalars(statement)]

    def restore(self, mask_id: str) -> MaskRow:
        """Bring a deleted mask back as it was; one that is there stays as it is.

        Raises:
            StorageError: there is no such mask, or the owner keeps as many as they may.
        """
        with self._db.write() as session:
            row = self._own(session, mask_id, deleted=True)
            if row.deleted_at is not None:
                self._require_room(session)
            row.deleted_at = None
            return detached(MaskRow, row)

    def forget(self, mask_id: str) -> None:
        """Remove a deleted mask for good; masks made from it stay.

        Raises:
            StorageError: there is no such mask, or it was not deleted first.
        """
        with self._db.write() as session:
            row = self._own(session, mask_id, deleted=True)
            if row.deleted_at is None:
                raise StorageError("Only a deleted mask can be removed for good.")
            session.delete(row)

    # --- whose --------------------------------------------------------------------------------

    def _found(self, session: Session, mask_id: str, *, deleted: bool = False) -> MaskTable:
        """The mask; one that was deleted only if `deleted`, and only one's own."""
        row = session.get(MaskTable, mask_id)
        gone = row is not None and row.deleted_at is not None
        if row is None or (gone and not deleted) or not sees(row, self._owner, public=not gone):
            raise StorageError(f"There is no mask {mask_id}. It may have been deleted.")
        return row

    def _own(self, session: Session, mask_id: str, *, deleted: bool = False) -> MaskTable:
        row = self._found(session, mask_id, deleted=deleted)
        require_own(row, self._owner)
        return row

    def _require_room(self, session: Session) -> None:
        if self._limits is not None:
            require_room_for_mask(session, written(self._owner), self._limits)

    def _if_there(self, session: Session, table: type[Table], key: str | None) -> str | None:
        row = session.get(table, key) if key else None
        return key if row is not None and sees(row, self._owner) else None

    def _empty_trash(self, session: Session) -> None:
        """A visitor's deleted masks count too: the oldest beyond the limit go for good."""
        if self._limits is None:
            return
        trash = select(MaskTable).where(
            MaskTable.owner == written(self._owner), MaskTable.deleted_at.is_not(None)
        )
        session.flush()
        for row in session.scalars(
            trash.order_by(MaskTable.deleted_at.desc()).offset(self._limits.masks)
        ):
            session.delete(row)


def insert_mask(
    session: Session,
    record: Mapping[str, Any],
    *,
    owner: str = PUBLIC,
    job_id: str | None = None,
    parent_id: str | None = None,
) -> MaskRow:
    """Store a mask within a transaction (`Jobs.finish` ends a job in the same one)."""
    _check(record)
    row = MaskTable(
        **record, id=new_id(), job_id=job_id, parent_id=parent_id, created_at=time.time(),
        owner=owner,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return detached(MaskRow, row)


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
