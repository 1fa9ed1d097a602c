"""Checkpoints: what they hold, which of them counts, and going on from it."""

from pathlib import Path

import numpy as np
import pytest

from rlkv import gates as gates_module
from rlkv.errors import UserError
from rlkv.training import checkpoint
from rlkv.training.config import make_config
from rlkv.training.run import train
from tests.rlkv.short_training import SMALL, Log


@pytest.mark.slow
def test_a_stopped_job_resumes_exactly(tmp_path: Path) -> None:
    config = make_config({**SMALL, "eval_problems": 0})
    whole, stopped, resumed = Log(), Log(stop_after=3), Log()
    unbroken = train(config, tmp_path / "whole", whole)
    half = train(config, tmp_path / "parts", stopped)
    assert list(stopped.steps) == [1, 2, 3]
    assert half.info["steps_done"] == 3
    assert "(3 of 6 steps)" in half.name
    mask = train(config, tmp_path / "parts", resumed)
    assert resumed.resumed_after == [3]
    assert mask.info == unbroken.info
    assert np.array_equal(mask.scores, unbroken.scores)
    assert list(resumed.steps) == [4, 5, 6]
    for step in (4, 5, 6):
        assert np.array_equal(resumed.gates[step], whole.gates[step])
        assert resumed.steps[step]["reward"] == whole.steps[step]["reward"]


@pytest.mark.slow
def test_a_torn_checkpoint_is_not_used(tmp_path: Path) -> None:
    config = make_config({**SMALL, "eval_problems": 0})
    train(config, tmp_path, Log(stop_after=4))
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[1] == 4
    (found[0] / "complete").unlink()
    (found[0] / "gates.safetensors").write_bytes(b"torn")
    log = Log()
    train(config, tmp_path, log)
    assert log.resumed_after == [2]
    assert list(log.steps) == [3, 4, 5, 6]
    assert (found[0] / "gates.safetensors").read_bytes() != b"torn"


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    for name in ("checkpoint-2", "checkpoint-4"):
        (tmp_path / name).mkdir()
    checkpoint.mark_complete(tmp_path / "checkpoint-2")
    checkpoint.remove_torn(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_checkpoints_hold_gates_only(tmp_path: Path) -> None:
    train(make_config({**SMALL, "eval_problems": 0}), tmp_path, Log(stop_after=4))
    folders = sorted(p.name for p in tmp_path.glob("checkpoint-*"))
    assert folders == ["checkpoint-2", "checkpoint-4"]
    size = sum(p.stat().st_size for p in (tmp_path / "checkpoint-4").iterdir())
    assert size < 100_000


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    checkpoint.save_gates(gates_module.Gates(2, 2, 4, 16), tmp_path)
    with pytest.raises(UserError, match=r"gates \(2, 2\), the model needs \(4, 8\)"):
        checkpoint.load_gates(gates_module.Gates(4, 8, 4, 16), tmp_path)
