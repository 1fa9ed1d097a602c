"""One app for the tests of this folder, as on a machine of one's own, and one as on a Space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from storage.database import Database, open_database
from tests.browser.conftest import Server, Watch
from tests.load.stage import started


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """At home. Its environment holds secrets that nobody may ever read again."""
    with started(tmp_path_factory.mktemp("home"), **SECRETS) as server:
        yield server


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As on a Space, though only for this machine."""
    folder = tmp_path_factory.mktemp("space")
    home = {"HOME": str(folder), "SPACE_ID": "somebody/rlkv"}
    with started(folder / "data", **home, HF_HOME=hub_home()) as server:
        yield server


@pytest.fixture
def watch() -> Watch:
    return Watch()


def hub_home() -> str:
    return os.environ.get("HF_HOME", str(Path.home() / ".cache" / "huggingface"))


SECRETS = {
    "HF_TOKEN": "hf_THISISSECRETNUMBERONE",
    "OPENAI_API_KEY": "sk-THISISSECRETNUMBERTWO",
    "MY_PASSWORD": "THISISSECRETNUMBERTHREE",
    "RLKV_AUTH": "",
}


@pytest.fixture
def client(app: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=60) as client:
        yield client


@pytest.fixture
def db(app: Server) -> Iterator[Database]:
    db = open_database(app.folder)
    yield db
    db.close()
