"""TRL's GRPOTrainer, changed to train gates only.

What differs from the paper and its release: advantages are group-relative by default (TRL's,
and the paper's equation 3; the release normalises over the batch); sampling and loss run in
one process, so there is no off-policy correction; hardening is ours (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import GRPOConfig, GRPOTrainer

from rlkv.gates import Gates
from rlkv.training import checkpoint, ranks
from rlkv.training.config import TrainConfig
from rlkv.training.penalty import penalty_weight

ADAM_EPSILON = 1e-3
"""Adam divides by the gradient's size: where the reward is flat, the penalty's tiny gradient
alone would move every gate by the full learning rate, however small beta is. An epsilon of the
order of the default penalty's gradient keeps the speed of that descent proportional to beta."""


class GateTrainer(GRPOTrainer):
    """GRPO on a model with attached gates; the model's own weights stay frozen."""

    def __init__(self, *, gates: Gates, settings: TrainConfig, **kwargs: Any) -> None:
        self.gates = gates
        self.settings = settings
        self.mean_reward = 0.0
        super().__init__(**kwargs)
        self.add_callback(_GateCallback(gates, settings))

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(*args, **kwargs)
        # Already gathered over processes: the mean of the whole step's batch.
        self.mean_reward = float(rewards.nanmean())
        return rewards

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        if not self.model.training:
            return loss
        weight = penalty_weight(self.settings.penalty, self.settings.cutoff, self.mean_reward)
        self._log_gates(weight)
        return loss + weight * self.gates.penalty() / self.current_gradient_accumulation_steps

    def _log_gates(self, weight: float) -> None:
        values = self.gates.values.detach()
        logged = {
            "gate_mean": values.mean().item(),
            "gate_min": values.min().item(),
            "sparsity": (values < 0.5).float().mean().item(),
            "penalty_weight": weight,
            "sharpness": self.gates.sharpness,
        }
        for name, value in logged.items():
            self._metrics["train"][name].append(value)

    # --- checkpoints: gates instead of weights --------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        checkpoint.save_gates(self.gates, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoint.load_gates(self.gates, Path(resume_from_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        ranks.wait_for_all()  # each rank has saved its random state
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            checkpoint.mark_complete(folder)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Not for checkpoints of 30 kB that nobody uploads."""


class _GateCallback(TrainerCallback):
    """Keeps the gates in [0, 1], sets their sharpness, and lets idle steps move nothing."""

    def __init__(self, gates: Gates, settings: TrainConfig) -> None:
        self.gates = gates
        self.settings = settings

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.gates.sharpness = self.settings.sharpness(state.global_step)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        gradient = self.gates.values.grad
        # Nothing to learn from this batch: without this, Adam's momentum would coast on.
        if gradient is not None and not gradient.any():
            self.gates.values.grad = None

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.gates.clamp_()


def grpo_config(config: TrainConfig, folder: Path, device: str) -> GRPOConfig:
    """TRL's settings for a job: one optimiser step per rollout, token-mean loss, no KL."""
    batch = config.prompts_per_step * config.samples_per_prompt // ranks.world()
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_iterations=1,
        num_generations=config.samples_per_prompt,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        top_p=1.0,
        top_k=0,
        beta=0.0,
        epsilon=0.4,
        loss_type="bnpo",
        scale_rewards=config.advantages,
        shuffle_dataset=False,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        adam_epsilon=ADAM_EPSILON,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=config.seed,
        bf16=False,
        use_cpu=device == "cpu",
        ddp_find_unused_parameters=False,
        activation_checkpointing=False,
        logging_steps=1,
        save_steps=config.save_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
    )


def dataset_rows(problems: list[Any]) -> list[dict[str, Any]]:
    """Problems as TRL's conversational rows."""
    return [
        {"prompt": [{"role": "user", "content": p.prompt}], "answer": p.answer, "size": p.size}
        for p in problems
    ]


Reward = Callable[..., list[float]]


def make_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    gates: Gates,
    config: TrainConfig,
    rows: Any,
    reward: Reward,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> GateTrainer:
    """A trainer ready to run or resume."""
    trainer = GateTrainer(
        gates=gates,
        settings=config,
        model=model,
        processing_class=tokenizer,
        args=grpo_config(config, folder, str(model.device)),
        train_dataset=rows,
        reward_funcs=reward,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
