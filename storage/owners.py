"""Whose rows: what one visitor of a shared copy sees, and what is theirs to change.

A row with the owner "" belongs to the copy itself: every visitor sees it and none changes it.
A row of somebody else is answered exactly as one that does not exist.
"""

from typing import Any

from sqlalchemy import ColumnElement, exists, true

from storage.errors import StorageError
from storage.schema import JobTable

Owner = str | None
"""Id of a visitor. None sees and changes everything: an own machine, the worker, commands."""
PUBLIC = ""


def seen(table: Any, owner: Owner, *, public: bool = True) -> ColumnElement[bool]:
    """The rows that an owner sees; without ``public`` only their own."""
    if owner is None:
        return true()
    owners = (owner, PUBLIC) if public else (owner,)
    found: ColumnElement[bool] = table.owner.in_(owners)
    return found


def sees(row: Any, owner: Owner, *, public: bool = True) -> bool:
    """Whether an owner sees a row: `seen` for one that was read already."""
    return owner is None or row.owner == owner or (public and row.owner == PUBLIC)


def require_own(row: Any, owner: Owner) -> None:
    """Raises StorageError for what an owner sees but may not change."""
    if owner is not None and row.owner != owner:
        raise StorageError("This came with the public copy: visitors can't change it.")


def of_job(table: Any, job_id: str, owner: Owner) -> ColumnElement[bool]:
    """The rows that were written for a job, none of them where the owner does not see the job."""
    rows: ColumnElement[bool] = table.job_id == job_id
    if owner is None:
        return rows
    return rows & exists().where(JobTable.id == job_id, seen(JobTable, owner))


def written(owner: Owner) -> str:
    """What stands in a new row."""
    return PUBLIC if owner is None else owner
