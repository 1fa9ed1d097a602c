"""The app as a process of its own, for tests that load it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.conftest import Server


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[Server]:
    """`python app.py` on a free port with its own supervisor, until the block ends."""
    server = Server(folder, OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"), **environment)
    try:
        server.start()
        yield server
    finally:
        server.close()
