"""What a shared copy forgets: the rows of visitors who stay away, and old deleted masks."""

import shutil
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from storage.database import Database
from storage.limits import DAY_S
from storage.owners import PUBLIC
from storage.schema import ChatTable, JobTable, MaskTable, VisitorTable, VoteTable
from storage.transitions import TERMINAL

_OWNED: tuple[tuple[Any, Any], ...] = (
    (JobTable, func.max(JobTable.created_at, func.coalesce(JobTable.ended_at, 0))),
    (MaskTable, MaskTable.created_at),
    (ChatTable, ChatTable.updated_at),
    (VoteTable, VoteTable.created_at),
)
"""What has an owner, and when that owner was there for it."""


@dataclass(frozen=True)
class Forgotten:
    """How much was removed."""

    visitors: int = 0
    masks: int = 0
    chats: int = 0
    jobs: int = 0
    trash: int = 0
    """Masks that had been deleted for long."""

    def __bool__(self) -> bool:
        return self != Forgotten()


class Retention:
    """Removes what nobody comes back for. Never what belongs to the copy itself, but its trash."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def saw(self, visitor: str) -> None:
        """Note that a visitor is there; nothing is noted of one who keeps nothing."""
        with self._db.read() as session:
            keeps = (select(exists().where(table.owner == visitor)) for table, _ in _OWNED)
            if not any(session.scalar(one) for one in keeps):
                return
        now = time.time()
        statement = insert(VisitorTable).values(id=visitor, seen_at=now)
        with self._db.write() as session:
            session.execute(
                statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now})
            )

    def forget(self, days: float, *, visitors: bool = True) -> Forgotten:
        """Remove what is older than so many days; ``visitors`` removes those of a shared copy.

        A visitor is forgotten whole or not at all, and stays while a job of theirs is under way.
        """
        before = time.time() - days * DAY_S
        gone: list[str] = []
        with self._db.write() as session:
            trash = _count(
                session,
                delete(MaskTable).where(MaskTable.deleted_at < before).returning(MaskTable.id),
            )
            found = _unused(session, before) if visitors else []
            masks = chats = 0
            for owner in found:
                gone += session.scalars(select(JobTable.id).where(JobTable.owner == owner))
                masks += _removed(session, MaskTable, owner)
                chats += _removed(session, ChatTable, owner)
                for table in (JobTable, VoteTable):
                    _removed(session, table, owner)
            if visitors:
                session.execute(delete(VisitorTable).where(VisitorTable.seen_at < before))
        for job in gone:
            shutil.rmtree(self._db.folder / "jobs" / job, ignore_errors=True)
        return Forgotten(len(found), masks, chats, len(gone), trash)


def _unused(session: Session, before: float) -> list[str]:
    """Visitors who own something and were last there before a time."""
    last: dict[str, float] = {}
    for table, when in _OWNED:
        statement = select(table.owner, func.max(when)).where(table.owner != PUBLIC)
        for owner, at in session.execute(statement.group_by(table.owner)):
            last[owner] = max(last.get(owner, 0.0), at)
    for owner, at in session.execute(select(VisitorTable.id, VisitorTable.seen_at)):
        if owner in last:
            last[owner] = max(last[owner], at)
    busy = set(session.scalars(select(JobTable.owner).where(JobTable.state.not_in(TERMINAL))))
    return [owner for owner, at in last.items() if at < before and owner not in busy]


def _removed(session: Session, table: Any, owner: str) -> int:
    return _count(session, delete(table).where(table.owner == owner).returning(table.id))


def _count(session: Session, statement: Any) -> int:
    return len(session.scalars(statement).all())
