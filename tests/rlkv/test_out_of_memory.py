"""Out of memory halves the rows at once and goes on from the last checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.out_of_memory import is_out_of_memory
from rlkv.training import memory
from rlkv.training.config import TrainConfig, make_config
from rlkv.training.observer import Observer
from rlkv.training.out_of_memory import train_as_planned, train_within_memory
from rlkv.training.rows import rows_in
from rlkv.training.run import train
from rlkv.training.sampler import Sampler
from tests.rlkv.short_training import SMALL, Log

CONFIG = make_config({**SMALL, "eval_problems": 0, "device": "cpu"})


def too_much() -> None:
    """What torch raises when the CPU has no more memory: a real one."""
    torch.empty(1 << 60, dtype=torch.uint8)


class Machine:
    """A training on a machine with room for so many rows; out of memory after some steps."""

    def __init__(self, room: int, steps: int = 3) -> None:
        self.room, self.steps = room, steps
        self.rows: list[int] = []

    def __call__(self, config: TrainConfig, folder: Path, observer: Observer) -> HeadMask:
        rows = config.rows_at_once or config.prompts_per_step * config.samples_per_prompt
        self.rows.append(rows)
        if rows <= self.room:
            return train(config, folder, observer)
        if not list(folder.glob("checkpoint-*")) and self.steps:
            train(config, folder, Log(stop_after=self.steps))
        too_much()
        raise AssertionError


def test_the_real_allocators_words_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        too_much()
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(MemoryError())
    wrapped = ValueError("while scoring")
    wrapped.__cause__ = caught.value
    assert is_out_of_memory(wrapped)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.slow
def test_rows_are_halved_until_they_fit_and_training_goes_on(tmp_path: Path) -> None:
    machine, log = Machine(room=2), Log()
    # So cold that answers don't depend on which of them are drawn together.
    config = CONFIG.model_copy(update={"temperature": 0.01})
    mask = train_within_memory(config, tmp_path, log, machine)
    assert machine.rows == [6, 3, 1]  # whole shares of six rows
    assert mask.info["steps_done"] == 6
    assert list(log.steps) == [4, 5, 6]
    assert log.resumed_after[0] == 3
    (first, second) = [event for event in log.events if "Out of memory" in event]
    assert first == "Out of memory with 6 rows at once: going on with 3 from step 3"
    assert second.endswith("going on with 1 from step 3")
    whole = Log()
    train(config, tmp_path / "whole", whole)
    assert np.allclose(log.gates[6], whole.gates[6], atol=1e-5)


@pytest.mark.slow
def test_without_a_checkpoint_what_was_told_is_taken_back(tmp_path: Path) -> None:
    machine, log = Machine(room=3, steps=0), Log()
    train_within_memory(CONFIG, tmp_path, log, machine)
    assert machine.rows == [6, 3]
    assert set(log.resumed_after) == {0}


def test_it_gives_up_with_numbers(tmp_path: Path) -> None:
    machine, log = Machine(room=0, steps=0), Log()
    config = make_config({**CONFIG.model_dump(), "prompts_per_step": 16})
    with pytest.raises(UserError, match=r"with 32, 16, 8, 4 rows at once; \d.* is free"):
        train_within_memory(config, tmp_path, log, machine)
    assert machine.rows == [32, 16, 8, 4]


def test_what_is_drawn_at_once_is_halved_too(tmp_path: Path) -> None:
    """Though the loss has one row already: memory may have run out while answers were drawn."""
    tried: list[tuple[int, int]] = []

    def machine(config: TrainConfig, folder: Path, observer: Observer) -> HeadMask:
        tried.append((config.rows_at_once, config.rollout_rows))
        if rows_in(config).drawn > 6:
            too_much()
        return HeadMask.full(1, 2)

    config = make_config({**CONFIG.model_dump(), "prompts_per_step": 12, "rows_at_once": 2})
    log = Log()
    train_within_memory(config, tmp_path, log, machine)
    assert tried == [(2, 0), (1, 12), (1, 6)]
    assert log.events[0] == (
        "Out of memory with 2 (24 drawn) rows at once: going on with 1 (12 drawn) from step 0"
    )


@pytest.mark.slow
def test_a_resume_draws_as_many_at_once_as_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = memory.read_shape("tracer")
    drawn: list[int] = []

    def rows_drawn(self: Sampler, prompts: list[list[int]]) -> Any:
        drawn.append(self.config.rollout_rows)
        return draw(self, prompts)

    draw = Sampler.draw
    monkeypatch.setattr(Sampler, "draw", rows_drawn)
    tight = memory.estimate(CONFIG, shape, 3).total
    monkeypatch.setattr(memory, "available", lambda *_, **__: tight)
    train_as_planned(CONFIG, tmp_path, Log(stop_after=2))
    monkeypatch.setattr(memory, "available", lambda *_, **__: 1 << 40)
    train_as_planned(CONFIG, tmp_path, Log(stop_after=3))
    assert drawn == [3, 3, 3]


def test_one_row_is_the_end(tmp_path: Path) -> None:
    machine = Machine(room=0, steps=0)
    config = make_config({**CONFIG.model_dump(), "rows_at_once": 1, "rollout_rows": 1})
    with pytest.raises(UserError, match="with 1 rows at once"):
        train_within_memory(config, tmp_path, Log(), machine)
    assert machine.rows == [1]


def test_other_errors_go_through(tmp_path: Path) -> None:
    def broken(*_: Any) -> HeadMask:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        train_within_memory(CONFIG, tmp_path, Log(), broken)
