"""Rollouts that state the right answer, and end as a test says."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rlkv.training.grpo import GateTrainer
from rlkv.training.rollout import Rollout
from rlkv.training.sampler import Sampler

Earned = list[list[float]]
"""What each answer of each step earned, those of all processes."""


def end_as(reasons: Sequence[str], patch: pytest.MonkeyPatch) -> Earned:
    """Lets a process's answers end for these reasons in turn, all with the text that is right.

    They are greedy, and every problem of a pool is one that the model solves greedily.
    """
    draw, rewards = Sampler.draw, GateTrainer._calculate_rewards
    earned: Earned = []

    def drawn(self: Sampler, prompts: list[list[int]]) -> list[Rollout]:
        self.how = replace(self.how, temperature=0.0)
        answers = draw(self, prompts)
        for i, answer in enumerate(answers):
            assert answer.stop_reason == "end"
            answer.stop_reason = reasons[i % len(reasons)]
        return answers

    def seen(self: GateTrainer, *args: Any, **kwargs: Any) -> Any:
        found = rewards(self, *args, **kwargs)
        earned.append(found[:, 0].tolist())
        return found

    patch.setattr(Sampler, "draw", drawn)
    patch.setattr(GateTrainer, "_calculate_rewards", seen)
    return earned
