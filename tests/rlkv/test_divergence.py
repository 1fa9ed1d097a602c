"""A NaN anywhere stops a training at its last good checkpoint, and names the step."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rlkv.errors import UserError
from rlkv.gates import Gates
from rlkv.models import load_model
from rlkv.training import checkpoint
from rlkv.training.config import make_config
from rlkv.training.run import train
from rlkv.worker import create, run_job
from storage.database import open_database
from storage.jobs import Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from tests.rlkv.short_training import SMALL, Log, short_training

CONFIG = make_config({**SMALL, "max_new_tokens": 72, "eval_problems": 0, "hardening": "none"})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_stops_the_training(bad: float) -> None:
    def reward(step: int, i: int) -> float:
        return bad if step == 2 else float(i % 2)

    with pytest.raises(UserError, match=r"Step 3: the reward is not a finite number.*no checkp"):
        short_training(*load_model("tracer"), reward=reward)


@pytest.mark.slow
def test_a_gate_that_becomes_nan_ends_the_job_at_the_last_good_checkpoint() -> None:
    db = open_database()
    job = create(CONFIG, db, claimed_by=os.getpid())
    folder = Jobs(db).folder(job.id)
    train(CONFIG, folder, Log(stop_after=2))
    poison(folder / "checkpoint-2" / "optimizer.pt")

    ended = run_job(db, job)

    assert (ended.state, ended.exit_code) == ("failed", 2)
    assert ended.message.startswith("Step 3: the gate is not a finite number")
    assert "The checkpoint of step 2 is good" in ended.message
    found = checkpoint.latest(folder)
    assert found is not None
    gates = Gates(4, 8, 4, 16)
    checkpoint.load_gates(gates, found[0])
    assert torch.isfinite(gates.values).all()
    assert not Masks(db).list(job_id=job.id)
    for _, stored in Metrics(db).snapshots(job.id):
        assert np.isfinite(np.frombuffer(stored, "<f4")).all()
    db.close()


def poison(path: Path) -> None:
    """As a gradient that overflowed would leave Adam's mean."""
    state = torch.load(path, weights_only=True)
    state["state"][0]["exp_avg"][1, 2] = math.nan
    torch.save(state, path)


def test_a_gradient_that_is_no_number_moves_nothing(tmp_path: Path) -> None:
    model, tokenizer = load_model("tracer")
    seen: list[torch.Tensor] = []

    def poisoned(gradient: torch.Tensor) -> torch.Tensor:
        seen.append(gradient)
        return gradient * math.nan

    original = Gates.penalty

    def penalty(self: Gates) -> torch.Tensor:
        if not seen:
            self.values.register_hook(poisoned)  # type: ignore[no-untyped-call]
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gates, "penalty", penalty)
        with pytest.raises(UserError, match="Step 1: the gradient"):
            short_training(model, tokenizer, reward=lambda step, i: 1.0)
    assert seen


def test_nan_gates_are_never_written(tmp_path: Path) -> None:
    gates = Gates(2, 2, 4, 16)
    with torch.no_grad():
        gates.values[0, 1] = math.nan
    with pytest.raises(ValueError, match="not a finite number"):
        checkpoint.save_gates(gates, tmp_path)
    assert not list(tmp_path.iterdir())
