from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.snapshots import Snapshots


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return tmp_path / "bucket" / "snapshots"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Database]:
    db = open_database(tmp_path / "live")
    yield db
    db.close()


@pytest.fixture
def snapshots(live: Database, bucket: Path) -> Iterator[Snapshots]:
    taker = Snapshots(live.path, bucket, keep=3)
    yield taker
    taker.close()


@pytest.fixture
def jobs(db: Database) -> Jobs:
    return Jobs(db)


@pytest.fixture
def job(jobs: Jobs) -> Job:
    """A queued job of ten steps."""
    return jobs.create("train", {"beta": 0.05}, title="Quick", model="tracer", total_steps=10)


@pytest.fixture
def record() -> dict[str, Any]:
    """A mask of 2 x 3 heads, as the science part hands it over."""
    return {
        "name": "half",
        "model": "tracer",
        "revision": "abc",
        "layers": 2,
        "kv_heads": 3,
        "scores": bytes(4 * 6),
        "kept": b"\1\0\1\0\1\0",
        "sink": 4,
        "recent": 16,
        "info": {"task": "tracing", "metrics": {"reward": 0.9}},
    }
