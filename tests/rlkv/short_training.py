"""Trainings of seconds, and an observer that remembers them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from rlkv import gates as gates_module
from rlkv.gates import Gates
from rlkv.tasks import get_task
from rlkv.training.config import make_config
from rlkv.training.grpo import GateTrainer, dataset_rows, make_trainer

SMALL: dict[str, Any] = {
    "steps": 6,
    "prompts_per_step": 3,
    "samples_per_prompt": 2,
    "problems": 8,
    "eval_problems": 4,
    "save_every": 2,
    "max_new_tokens": 96,
    "learning_rate": 0.1,
    "elimination": False,  # most of the time of so small a job
}


class Log:
    """An observer that remembers, and asks to stop after a given step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: dict[int, Mapping[str, float]] = {}
        self.gates: dict[int, np.ndarray] = {}
        self.events: list[str] = []
        self.phases: dict[str, tuple[int, int]] = {}
        self.resumed_after: list[int] = []
        self.stop_after = stop_after

    def event(self, text: str) -> None:
        self.events.append(text)

    def phase(self, name: str, done: int, total: int) -> None:
        self.phases[name] = (done, total)

    def resumed(self, step: int) -> None:
        self.resumed_after.append(step)

    def step(self, step: int, metrics: Mapping[str, float], gates: np.ndarray) -> None:
        self.steps[step], self.gates[step] = metrics, gates.copy()

    def should_stop(self) -> bool:
        return self.stop_after is not None and self.stop_after in self.steps


def short_training(model, tokenizer, **settings: Any) -> Gates:
    """The gates of `short_trainer`."""
    return short_trainer(model, tokenizer, **settings).gates


def short_trainer(model, tokenizer, *, reward, steps: int = 4, **settings: Any) -> GateTrainer:
    """Trains gates with a reward made up per (step, sample)."""
    config = make_config({**SMALL, "steps": steps, "hardening": "none", **settings})
    gates = gates_module.attach(model, sink=4, recent=16)
    problems = get_task("tracing").problems(config.prompts_per_step * steps, seed=0)

    def function(completions, trainer_state, **kwargs):
        return [reward(trainer_state.global_step, i) for i in range(len(completions))]

    rows = Dataset.from_list(dataset_rows(problems))
    trainer = make_trainer(
        model, tokenizer, gates, config, rows, function, Path("/nonexistent"), []
    )
    trainer.args.save_strategy = "no"
    trainer.train()
    return trainer
