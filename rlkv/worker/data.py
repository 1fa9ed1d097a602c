"""What `doctor` has to know of storage: where the data lies, and which SQLite it needs."""

from __future__ import annotations

from pathlib import Path

from rlkv.errors import UserError
from storage.database import OLDEST_SQLITE
from storage.errors import StorageError
from storage.locations import data_dir

__all__ = ["OLDEST_SQLITE", "data_folder"]


def data_folder() -> Path:
    """The data folder, made if it is not there.

    Raises:
        UserError: if it can't be made or written to.
    """
    try:
        return data_dir()
    except StorageError as error:
        raise UserError(str(error)) from error
