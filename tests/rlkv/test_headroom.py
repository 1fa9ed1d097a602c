"""Free memory as it is asked for while a model answers."""

from pathlib import Path

import psutil
import pytest

from rlkv import headroom
from rlkv.cgroups import UNLIMITED, limit_of_cgroups
from rlkv.headroom import Headroom, free_bytes, total_bytes


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the system says is free, one reading after the other, of 1000 bytes in all."""
    found: list[int] = []
    monkeypatch.setattr(headroom, "free_bytes", lambda device: found.pop(0))
    monkeypatch.setattr(headroom, "total_bytes", lambda device: 1000)
    return found


def test_short_is_below_the_reserve_of_all_memory(readings: list[int]) -> None:
    readings += [200]
    room = Headroom(reserve_share=0.05)
    assert room.reserve == 50
    assert not room.short()
    assert not room.short(150)
    assert room.short(151)


def test_a_reading_is_kept_for_a_moment(
    readings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    readings += [200, 20]
    now = [10.0]
    monkeypatch.setattr("rlkv.headroom.time.monotonic", lambda: now[0])
    room = Headroom()
    assert room.free() == 200
    now[0] += headroom.FRESH_S - 0.01
    assert not room.short()
    now[0] += 0.02
    assert room.short()
    assert readings == []


def test_what_the_system_says_is_within_bounds() -> None:
    assert 0 < free_bytes() < total_bytes() <= psutil.virtual_memory().total


def test_a_control_group_bounds_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "memory.max").write_text("5000")
    (tmp_path / "memory.max").write_text("max")
    (tmp_path / "own").write_text("0::/job\n")
    assert limit_of_cgroups(tmp_path / "own", tmp_path) == 5000
    (tmp_path / "job" / "memory.max").write_text("max")
    assert limit_of_cgroups(tmp_path / "own", tmp_path) == UNLIMITED
    monkeypatch.setattr(headroom, "limit_of_cgroups", lambda: 5000)
    monkeypatch.setattr(headroom, "room_in_cgroups", lambda: 700)
    assert (total_bytes(), free_bytes()) == (5000, 700)
