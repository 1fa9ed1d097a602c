"""The simulated Space, and the browser its visitors use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import free_port
from tests.space.stage import Space, world

Life = Callable[..., Space]


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Path, Path, Path]]:
    with world() as made:
        yield made


@pytest.fixture
def life(place: tuple[Path, Path, Path]) -> Iterator[Life]:
    """Starts the Space on an empty disk; the bucket is the same for all lives of a module."""
    code, bucket, disks = place
    lives: list[Space] = []
    port = free_port()  # a Space keeps its address

    def begin(*, home: bool = False, **environment: str) -> Space:
        number = len(list(disks.iterdir()))
        space = Space(code, bucket, disks / str(number), port, home=home, **environment)
        lives.append(space)
        space.start()
        return space

    yield begin
    for space in lives:
        space.close()
