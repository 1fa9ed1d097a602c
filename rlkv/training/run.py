"""One gate-training job from settings to mask: sample, train, harden, measure.

Knows nothing of databases or screens; what happens is told to an observer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from rlkv import gates as gates_module
from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import load_model, model_spec
from rlkv.tasks import Problem, Task, get_task
from rlkv.training import checkpoint, ranks
from rlkv.training.config import TrainConfig
from rlkv.training.grpo import dataset_rows, make_trainer
from rlkv.training.launching import check_batch
from rlkv.training.self_distillation import schedule, solved_problems

EVAL_SEED_OFFSET = 1_000_003
"""Keeps the problems of the final check apart from those trained on."""


class Observer(Protocol):
    """Whoever wants to know how a job goes, and may stop it."""

    def event(self, text: str) -> None:
        """A line for the log: a phase begins, a checkpoint is used."""

    def resumed(self, step: int) -> None:
        """Training goes on after `step`; whatever was reported beyond it will come again."""

    def step(self, step: int, metrics: Mapping[str, float], gates: NDArray[np.float32]) -> None:
        """An optimiser step is done; `gates` is `[layers, kv_heads]`."""

    def should_stop(self) -> bool:
        """Asked often; True ends the job after the current step, keeping what it learned."""


def train(config: TrainConfig, folder: Path, observer: Observer) -> HeadMask:
    """Runs or resumes the job in `folder` and returns the mask at 50 % sparsity.

    Raises:
        UserError: if model, task or settings don't work out.
    """
    task = get_task(config.task)
    check_batch(config, ranks.world())
    observer.event(f"Loading {config.model}")
    device = ranks.device(config.device)
    model, tokenizer = load_model(config.model, device=device, dtype=config.dtype)
    problems = ranks.from_main(lambda: _pool(model, tokenizer, task, config, folder, observer))
    gates = gates_module.attach(model, sink=config.sink, recent=config.recent)
    try:
        steps = _optimise(model, tokenizer, task, gates, problems, config, folder, observer)
        scores = gates.values.detach().cpu().numpy()
    finally:
        gates_module.detach(model)
    mask = _mask(model, scores, config, steps)
    if config.eval_problems and steps == config.steps and ranks.is_main():
        observer.event(f"Measuring the mask on {config.eval_problems} unseen problems")
        mask = _measured(model, tokenizer, task, mask, config)
    return mask


def _pool(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    config: TrainConfig,
    folder: Path,
    observer: Observer,
) -> list[Problem]:
    """The problems that the model solves by itself; kept in the folder for a resume."""
    path = folder / "problems.json"
    if path.is_file():
        return [Problem(**row) for row in json.loads(path.read_text())]
    observer.event(f"Sampling: which of {config.problems} problems does the model solve by itself?")
    solved = solved_problems(
        model,
        tokenizer,
        task,
        count=config.problems,
        seed=config.seed,
        max_new_tokens=config.max_new_tokens,
        progress=lambda done, total: not observer.should_stop(),
    )
    observer.event(f"{len(solved)} of {config.problems} problems are solved and kept")
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps([asdict(problem) for problem in solved]))
    partial.replace(path)
    return solved


def _optimise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    gates: gates_module.Gates,
    problems: list[Problem],
    config: TrainConfig,
    folder: Path,
    observer: Observer,
) -> int:
    """Trains the gates; returns the step reached."""
    # One long epoch in an order of our own: a resume then skips to exactly the same problem.
    rows = dataset_rows(
        schedule(problems, config.steps * config.prompts_per_step, seed=config.seed)
    )

    def reward(completions: Any, answer: list[str], **columns: Any) -> list[float]:
        texts = [completion[-1]["content"] for completion in completions]
        return [
            task.reward(text, Problem("", right)) for text, right in zip(texts, answer, strict=True)
        ]

    trainer = make_trainer(
        model,
        tokenizer,
        gates,
        config,
        Dataset.from_list(rows),
        reward,
        folder,
        [_Reporter(gates, observer)],
    )
    start = ranks.from_main(lambda: checkpoint.latest(folder))
    if start:
        ranks.share_files(start[0])
        observer.resumed(start[1])
        observer.event(f"Resuming after step {start[1]}")
    else:
        shared = f" on {ranks.world()} processes" if ranks.world() > 1 else ""
        observer.event(f"Training {gates.values.numel()} gates for {config.steps} steps{shared}")
    if ranks.any_rank(observer.should_stop()):
        return start[1] if start else 0
    trainer.train(resume_from_checkpoint=str(start[0]) if start else None)
    return int(trainer.state.global_step)


_LOGGED = {
    "reward": "reward",
    "gate_mean": "gate_mean",
    "gate_min": "gate_min",
    "sparsity": "sparsity",
    "penalty_weight": "penalty_weight",
    "sharpness": "sharpness",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "frac_reward_zero_std": "frac_reward_zero_std",
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "unfinished",
}
"""TRL's names of what is reported, and ours."""


class _Reporter(TrainerCallback):
    """Tells the observer of every step and hands its wish to stop to the trainer."""

    def __init__(self, gates: gates_module.Gates, observer: Observer) -> None:
        self.gates = gates
        self.observer = observer
        self.begun = time.perf_counter()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.begun = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> TrainerControl:
        logs = logs or {}
        if "reward" not in logs:  # the summary at the end
            return control
        metrics = {ours: float(logs[trl]) for trl, ours in _LOGGED.items() if trl in logs}
        metrics["step_seconds"] = time.perf_counter() - self.begun
        self.observer.step(state.global_step, metrics, self.gates.values.detach().cpu().numpy())
        stop = ranks.any_rank(self.observer.should_stop())
        if stop and state.global_step < state.max_steps:
            control.should_training_stop = True
            control.should_save = True  # looked at after this
        return control


def _mask(
    model: PreTrainedModel, scores: NDArray[np.float32], config: TrainConfig, steps: int
) -> HeadMask:
    spec = model_spec(model)
    return HeadMask.from_scores(
        scores,
        sparsity=0.5,
        sink=config.sink,
        recent=config.recent,
        model=config.model,
        revision=getattr(model.config, "_commit_hash", None) or "",
        name=f"{spec.name} {config.task} seed {config.seed}"
        + ("" if steps == config.steps else f" ({steps} of {config.steps} steps)"),
        info={
            "task": config.task,
            "seed": config.seed,
            "steps_done": steps,
            "recipe": config.model_dump(),
            "head_dim": spec.head_dim,
            "itemsize": spec.itemsize,
            "query_heads": spec.query_heads,
            "layer_ids": list(spec.layout.gated),
        },
    )


def _measured(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    mask: HeadMask,
    config: TrainConfig,
) -> HeadMask:
    """The mask with its accuracy next to the full model's, on problems never trained on."""
    problems = task.problems(config.eval_problems, seed=config.seed + EVAL_SEED_OFFSET)
    full = HeadMask.full(*mask.shape)
    metrics = {
        "n": config.eval_problems,
        "accuracy_full": accuracy(model, tokenizer, task, problems, full).value,
        "accuracy_at_50": accuracy(model, tokenizer, task, problems, mask).value,
    }
    return replace(mask, info={**mask.info, "metrics": metrics})
