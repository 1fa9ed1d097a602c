"""How much one visitor of a shared copy may keep and start; counted where it is added."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from storage.errors import StorageError
from storage.schema import ChatTable, JobTable, MaskTable
from storage.transitions import TERMINAL

AT_HOME = "The app runs on your own machine without limits."
DAY_S = 86_400.0


@dataclass(frozen=True)
class Limits:
    """Of one visitor."""

    masks: int
    chats: int
    active_jobs: int
    jobs_a_day: int


def require_room_for_job(session: Session, owner: str, limits: Limits) -> None:
    """Raises StorageError where a visitor has started as many as they may."""
    require_idle(session, owner, limits)
    since = time.time() - DAY_S
    statement = select(JobTable.created_at).where(
        JobTable.owner == owner, JobTable.created_at > since
    )
    started = sorted(session.scalars(statement))
    most = limits.jobs_a_day
    if len(started) < most:
        return
    # There is room again when the last but `most - 1` is a day old.
    hours = (started[-most] - since) / 3600 if most else 24.0
    raise StorageError(
        f"A visitor of this public copy starts at most {most} jobs a day: there is room for the "
        f"next one in {max(hours, 0.1):.1f} hours. {AT_HOME}"
    )


def require_idle(session: Session, owner: str, limits: Limits) -> None:
    """Raises StorageError where a visitor has as many jobs under way as they may."""
    active = _count(session, JobTable, JobTable.owner == owner, JobTable.state.not_in(TERMINAL))
    if active >= limits.active_jobs:
        raise StorageError(
            f"A visitor of this public copy has at most {limits.active_jobs} job under way: stop "
            f"yours, or wait for its end. {AT_HOME}"
        )


def require_room_for_mask(session: Session, owner: str, limits: Limits) -> None:
    """Raises StorageError where a visitor keeps as many masks as they may."""
    kept = _count(session, MaskTable, MaskTable.owner == owner, MaskTable.deleted_at.is_(None))
    if kept >= limits.masks:
        raise StorageError(
            f"A visitor of this public copy keeps at most {limits.masks} masks: delete one first, "
            f"or take it away as a file. {AT_HOME}"
        )


def require_room_for_chat(session: Session, owner: str, limits: Limits) -> None:
    """Raises StorageError where a visitor keeps as many conversations as they may."""
    if _count(session, ChatTable, ChatTable.owner == owner) >= limits.chats:
        raise StorageError(
            f"A visitor of this public copy keeps at most {limits.chats} conversations: delete one "
            f"first. {AT_HOME}"
        )


def _count(session: Session, table: Any, *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*which)) or 0
