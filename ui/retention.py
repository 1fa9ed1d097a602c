"""When a copy forgets what nobody comes back for, and who was there. Rules: docs/visitors.md."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from storage.database import Database, open_database
from storage.errors import StorageError
from storage.limits import DAY_S
from storage.retention import Retention

MOST = 10_000
"""Visitors remembered at once as seen today."""
log = logging.getLogger(__name__)


class Seen:
    """Notes once a day in the database that a visitor is there."""

    def __init__(self, db: Database) -> None:
        self._retention = Retention(db)
        self._at: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, visitor: str) -> None:
        """That a visitor asked for something."""
        now = time.monotonic()
        with self._lock:
            if now - self._at.get(visitor, -DAY_S) < DAY_S:
                return
            self._at.pop(visitor, None)
            self._at[visitor] = now
            while len(self._at) > MOST:
                del self._at[next(iter(self._at))]
        try:
            self._retention.saw(visitor)
        except StorageError as error:  # a full disk: reading goes on
            log.warning("A visit was not noted: %s", error)


def forget_daily(folder: Path, days: int, *, visitors: bool) -> threading.Event:
    """Starts forgetting, at once and then once a day; set what is returned to end it."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            _forget(folder, days, visitors)
            ended.wait(DAY_S)

    threading.Thread(target=work, name="retention", daemon=True).start()
    return ended


def _forget(folder: Path, days: int, visitors: bool) -> None:
    try:
        db = open_database(folder)
        try:
            gone = Retention(db).forget(days, visitors=visitors)
        finally:
            db.close()
    except StorageError as error:
        log.warning("Old data was not deleted: %s", error)
        return
    if gone:
        log.info("Deleted, unused for %d days: %s", days, gone)
