"""A full disk: how it is told from other errors, and how a job can still write its end then."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

RESERVE_BYTES = 2**20
EXIT_CODE = 74
"""Of a worker that could not even write its end; sysexits.h calls it EX_IOERR."""
MESSAGE = (
    "Disk full: nothing more could be written. Free some space, then press Resume: "
    "it goes on from its last checkpoint."
)

_NUMBERS = {errno.ENOSPC, errno.EDQUOT}
_WORDS = ("no space left on device", "disk is full", "disk quota exceeded")


def is_full(error: BaseException, folder: Path) -> bool:
    """Is a full disk behind this error?

    Some writers keep the number, some only its words, and torch's neither: there the disk
    itself is asked.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _NUMBERS:
            return True
        if any(words in str(cause).lower() for words in _WORDS):
            return True
    try:
        return shutil.disk_usage(folder).free < RESERVE_BYTES // 4
    except OSError:
        return False


class Reserve:
    """A file that takes up space while a job runs, to be given back when there is none left.

    Without it the row of a job that dies of a full disk could not say so: the database is on
    the same disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "reserve"

    def hold(self) -> None:
        """Take the space. Raises OSError where there is none."""
        with self._path.open("wb") as file:
            file.write(b"\1" * RESERVE_BYTES)
            file.flush()
            os.fsync(file.fileno())

    def release(self) -> None:
        """Give it back."""
        self._path.unlink(missing_ok=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or here.__context__
