"""The gates of a training come back from their file as they went in; bad files are refused."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.gate_history import GateHistory

SHAPE = (2, 4)
GATES = np.random.default_rng(0).random((3, *SHAPE)).astype("<f4")
SNAPSHOTS = [(step, g.tobytes()) for step, g in zip((1, 2, 5), GATES, strict=True)]


def test_gates_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "training.npz"
    path.write_bytes(GateHistory.of(SNAPSHOTS, SHAPE, [(1, 0.5), (5, 1.0), (9, 0.1)]).to_npz())
    found = GateHistory.load(path)
    assert found.steps.tolist() == [1, 2, 5]
    assert np.array_equal(found.gates, GATES)
    assert found.rewards[0] == 0.5
    assert math.isnan(found.rewards[1])
    assert found.rewards[2] == 1.0
    assert found.shape == SHAPE


def test_nothing_yet_is_a_table_without_rows() -> None:
    history = GateHistory.of([], SHAPE)
    assert len(history) == 0
    assert history.gates.shape == (0, *SHAPE)
    assert np.load(io.BytesIO(history.to_npz()))["gates"].shape == (0, *SHAPE)


def test_snapshots_of_another_size_are_left_out() -> None:
    assert GateHistory.of([(0, b"\0" * 8), *SNAPSHOTS], SHAPE).steps.tolist() == [1, 2, 5]


def test_thinned_keeps_the_ends() -> None:
    many = [(step, GATES[0].tobytes()) for step in range(1, 501)]
    thin = GateHistory.of(many, SHAPE).thinned(100)
    assert len(thin) == 100
    assert (thin.steps[0], thin.steps[-1]) == (1, 500)
    assert len(GateHistory.of(SNAPSHOTS, SHAPE).thinned(100)) == 3


def written(tmp_path: Path, **tables: np.ndarray) -> Path:
    path = tmp_path / "training.npz"
    np.savez(path, allow_pickle=True, **tables)
    return path


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.npz"
    text.write_text("nothing")
    with pytest.raises(UserError, match="does not hold the gates"):
        GateHistory.load(text)
    with pytest.raises(UserError, match="does not hold the gates"):
        GateHistory.load(tmp_path / "missing.npz")
    steps, rewards = np.arange(3), np.zeros(3, np.float32)
    with pytest.raises(UserError, match="does not hold the gates"):
        GateHistory.load(written(tmp_path, steps=steps, gates=GATES))
    with pytest.raises(UserError, match="do not fit"):
        GateHistory.load(written(tmp_path, steps=steps, gates=GATES[:2], rewards=rewards))
    pickled = np.array([object()] * 3, dtype=object)
    with pytest.raises(UserError, match="does not hold the gates"):
        GateHistory.load(written(tmp_path, steps=steps, gates=pickled, rewards=rewards))
