"""The reward of the mask that would be deployed, looked at while soft gates are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from rlkv.generation import prompt_ids
from rlkv.tasks import Problem
from rlkv.training.sampler import Sampler
from rlkv.training.verifier import Verifier

PROBLEMS = 32


class HardCheck(TrainerCallback):
    """Every few steps: the share of solved problems still right, greedily, under the mask.

    Always the same problems, all of which the untouched model answers right. Greedy answers
    draw no random numbers, so looking changes nothing.
    """

    def __init__(
        self,
        sampler: Sampler,
        verifier: Verifier,
        problems: Sequence[Problem],
        every: int,
        log: Any,
    ) -> None:
        self.sampler, self.verifier = sampler, verifier
        self.problems = list(problems[:PROBLEMS])
        self.every = every
        self.log = log

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        last = state.global_step == state.max_steps - 1
        if self.every and (state.global_step % self.every == 0 or last):
            self.log("reward_hard", self.reward())

    def reward(self) -> float:
        """Under the mask at the sparsity aimed for."""
        prompts = [prompt_ids(self.verifier.tokenizer, p.prompt) for p in self.problems]
        drawn = self.sampler.greedy(prompts, self.sampler.target_mask())
        right = self.verifier.right(drawn, self.problems)
        return sum(right) / len(right)
