"""TRL's GRPOTrainer, changed to train gates only.

What differs from the paper and its release: sampling and loss run in one process under one
attention rule, so there is no off-policy correction (the difference of their log-probabilities
is reported at every step); hardening is ours (docs/method.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from rlkv.gates import Gates
from rlkv.generation import prompt_ids
from rlkv.training import checkpoint, ranks
from rlkv.training.advantages import batch_advantages, says_something
from rlkv.training.config import TrainConfig
from rlkv.training.divergence import require_finite
from rlkv.training.eval_mode import in_eval_mode
from rlkv.training.gate_callback import GateCallback
from rlkv.training.penalty import penalty_weight
from rlkv.training.positions import counted_without_padding
from rlkv.training.rows import most_rows, rows_here
from rlkv.training.sampler import Sampler


class GateTrainer(GRPOTrainer):
    """GRPO on a model with attached gates; the model's own weights stay frozen."""

    def __init__(
        self, *, gates: Gates, settings: TrainConfig, sampler: Sampler, **kwargs: Any
    ) -> None:
        self.gates = gates
        self.settings = settings
        self.sampler = sampler
        self.rewards = torch.zeros(0)  # of the whole step's batch, all processes
        self.largest_gap = 0.0
        self._stop_reasons: list[str] = []  # of this process's answers, in their order
        self._step_gap = 0.0
        self._loss_logprobs: torch.Tensor | None = None
        super().__init__(**kwargs)
        self.add_callback(GateCallback(self))

    # --- rollouts -----------------------------------------------------------------------------

    def _tokenize_prompts(
        self, prompts: list[list[dict[str, str]]]
    ) -> tuple[list[list[int]], None, dict[str, Any]]:
        # As everywhere else here; TRL's way needs a chat template, which base models don't have.
        return (
            [prompt_ids(self.processing_class, turns[0]["content"]) for turns in prompts],
            None,
            {},
        )

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any
    ) -> tuple[list[list[int]], list[list[float]]]:
        begun = time.perf_counter()
        drawn = self.sampler.draw(prompt_ids)
        self.log_value("rollout_seconds", time.perf_counter() - begun)
        self.log_value("rollout_tokens", float(sum(len(r.ids) for r in drawn)))
        stuck = sum(r.stop_reason == "repetition" for r in drawn) / len(drawn)
        self.log_value("repetitive", stuck)
        self._stop_reasons = [r.stop_reason for r in drawn]
        return [r.ids for r in drawn], [r.logprobs for r in drawn]

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        # A column more for the reward function, which TRL calls on this process's answers before
        # it gathers the rewards of all: how an answer ended can't be told from its text.
        rows = [
            {**row, "stop_reason": reason}
            for row, reason in zip(inputs, self._stop_reasons, strict=True)
        ]
        rewards: torch.Tensor = super()._calculate_rewards(rows, *args, **kwargs)
        self.require_finite(rewards, "reward")
        self.rewards = rewards[:, 0]
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.settings.advantages == "batch":
            tokens = self.accelerator.gather(batch["completion_mask"].sum(1))
            rows = len(batch["advantages"])
            first = self.accelerator.process_index * rows
            batch["advantages"] = batch_advantages(self.rewards, tokens)[first : first + rows]
        return batch

    # --- loss -----------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        with in_eval_mode(self.model), counted_without_padding(self.model):
            found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._loss_logprobs = found[0].detach()
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        if not self.model.training:
            return loss
        self.require_finite(loss.detach(), "loss")
        self._compare_logprobs(inputs)
        weight = self._penalty_weight()
        self._log_gates(weight)
        return loss + weight * self.gates.penalty() / self.current_gradient_accumulation_steps

    def _penalty_weight(self) -> float:
        reward = float(self.rewards.mean())
        learnt = says_something(
            self.rewards, self.settings.samples_per_prompt, self.settings.advantages
        )
        if not learnt and reward < 1.0:
            return 0.0  # nothing says which heads were missed: stand still instead of drifting
        return penalty_weight(self.settings.penalty, self.settings.cutoff, reward)

    def _compare_logprobs(self, inputs: dict[str, Any]) -> None:
        """Largest difference between what rollout and loss say of the same tokens."""
        assert self._loss_logprobs is not None
        gap = (self._loss_logprobs - inputs["sampling_per_token_logps"]).abs()
        gap = (gap * inputs["completion_mask"]).max()
        self._step_gap = max(self._step_gap, float(self.accelerator.gather(gap).max()))
        self.largest_gap = max(self.largest_gap, self._step_gap)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.model.training and "loss" in logs:
            self._metrics["train"]["logprob_gap"] = [self._step_gap]
            self._step_gap = 0.0
        super().log(logs, *args, **kwargs)

    def log_value(self, name: str, value: float) -> None:
        """Adds a number to what is logged with the step that begins."""
        self._metrics["train"][name].append(value)

    def require_finite(self, values: torch.Tensor, what: str) -> None:
        """Ends the job at the last good checkpoint if a number is none."""
        require_finite(values, what, self.state.global_step + 1, Path(self.args.output_dir))

    def _log_gates(self, weight: float) -> None:
        values = self.gates.values.detach()
        acting = self.gates.effective().detach()
        logged = {
            "gate_mean": values.mean().item(),
            "gate_min": values.min().item(),
            "sparsity": (values < 0.5).float().mean().item(),
            # How far the mix is from binary: 0 for gates of 0 and 1, 1 for gates of 0.5.
            "softness": (4 * acting * (1 - acting)).mean().item(),
            "penalty_weight": weight,
            "sharpness": self.gates.sharpness,
        }
        for name, value in logged.items():
            self.log_value(name, value)

    # --- checkpoints: gates instead of weights --------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        checkpoint.save_gates(self.gates, folder, self.largest_gap)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.largest_gap = checkpoint.load_gates(self.gates, Path(resume_from_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        ranks.wait_for_all()  # each rank has saved its random state
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            checkpoint.mark_complete(folder)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Not for checkpoints of 30 kB that nobody uploads."""


def rows_together(config: TrainConfig) -> int:
    """Rows of one pass through the model: the most that divides a process's share evenly."""
    batch = rows_here(config)
    return most_rows(batch, config.rows_at_once or batch)


def grpo_config(config: TrainConfig, folder: Path, device: str) -> GRPOConfig:
    """TRL's settings for a job: one optimiser step per rollout, token-mean loss, no KL."""
    batch = rows_here(config)
    rows = rows_together(config)
    made = GRPOConfig(
        output_dir=str(folder),
        max_steps=config.steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=batch // rows,
        steps_per_generation=batch // rows,
        num_iterations=1,
        num_generations=config.samples_per_prompt,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        beta=0.0,
        epsilon=0.4,
        loss_type="dapo",  # a token's weight does not depend on how the step is cut into passes
        scale_rewards="group",
        shuffle_dataset=False,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        optim="adamw_torch",
        adam_epsilon=config.adam_epsilon,
        weight_decay=config.weight_decay,
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
    if made.n_gpu > 1:
        # A process works on one GPU. The Trainer would spread over all that it sees, which TRL
        # refuses; several GPUs are several processes (`TrainConfig.processes`).
        made._n_gpu = 1
    return made


def dataset_rows(problems: list[Any]) -> list[dict[str, Any]]:
    """Problems as TRL's conversational rows."""
    return [
        {"prompt": [{"role": "user", "content": p.prompt}], "answer": p.answer, "size": p.size}
        for p in problems
    ]


Reward = Callable[..., list[float]]


@contextmanager
def _taken_as_dense(model: Any) -> Iterator[None]:
    """The Trainer refuses quantized models without an adapter: the gates are one."""
    quantized = getattr(model, "is_quantized", False)
    model.is_quantized = False
    try:
        yield
    finally:
        model.is_quantized = quantized


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
    with _taken_as_dense(model):
        trainer = GateTrainer(
            gates=gates,
            settings=config,
            sampler=Sampler(model, tokenizer, gates, config),
            model=model,
            processing_class=tokenizer,
            args=grpo_config(config, folder, str(model.device)),
            train_dataset=rows,
            reward_funcs=reward,
            callbacks=callbacks,
        )
    trainer.remove_callback(PrinterCallback)
    return trainer
