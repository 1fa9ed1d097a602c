"""What happens to the gates around an optimiser step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlkv.training.hardening import harden, settle

if TYPE_CHECKING:
    from rlkv.training.grpo import GateTrainer


class GateCallback(TrainerCallback):
    """Keeps the gates in [0, 1], sets their sharpness, and lets idle steps move nothing."""

    def __init__(self, trainer: GateTrainer) -> None:
        self.trainer, self.gates = trainer, trainer.gates

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        harden(self.gates, self.trainer.settings, state.global_step)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        gradient = self.gates.values.grad
        if gradient is not None:
            self.trainer.require_finite(gradient, "gradient")
        # Nothing to learn from this batch: without this, Adam's momentum would coast on.
        if gradient is not None and not gradient.any():
            self.gates.values.grad = None

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.trainer.require_finite(self.gates.values.detach(), "gate")
        settle(self.gates)
