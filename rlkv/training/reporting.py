"""From TRL's log to the observer: one call a step, under names of our own."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlkv.gates import Gates
from rlkv.training import ranks
from rlkv.training.observer import Observer

LOGGED = {
    "reward": "reward",
    "reward_hard": "reward_hard",
    "gate_mean": "gate_mean",
    "gate_min": "gate_min",
    "sparsity": "sparsity",
    "softness": "softness",
    "penalty_weight": "penalty_weight",
    "sharpness": "sharpness",
    "logprob_gap": "logprob_gap",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "frac_reward_zero_std": "frac_reward_zero_std",
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "unfinished",
    "repetitive": "repetitive",
    "rollout_seconds": "rollout_seconds",
    "rollout_tokens": "rollout_tokens",
}
"""TRL's names of what is reported, and ours."""


class Reporter(TrainerCallback):
    """Tells the observer of every step and hands its wish to stop to the trainer."""

    def __init__(self, gates: Gates, observer: Observer) -> None:
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
        metrics = {ours: float(logs[trl]) for trl, ours in LOGGED.items() if trl in logs}
        metrics["step_seconds"] = time.perf_counter() - self.begun
        self.observer.phase("training", state.global_step, state.max_steps)
        self.observer.step(state.global_step, metrics, self.gates.values.detach().cpu().numpy())
        stop = ranks.any_rank(self.observer.should_stop())
        if stop and state.global_step < state.max_steps:
            control.should_training_stop = True
            control.should_save = True  # looked at after this
        return control
