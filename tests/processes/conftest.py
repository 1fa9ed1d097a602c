from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.stage import Stage, open_stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path) as stage:
        yield stage


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose one supervisor serves all tests of a file; starting one takes a while."""
    with open_stage(tmp_path_factory.mktemp("busy")) as stage:
        stage.supervisor()
        yield stage
