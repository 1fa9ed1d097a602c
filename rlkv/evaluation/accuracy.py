"""Accuracy of a model on a task under a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.generation import complete
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, Task


@dataclass(frozen=True)
class Accuracy:
    """Share of problems answered right, and each verdict in order."""

    verdicts: tuple[bool, ...]

    @property
    def value(self) -> float:
        return sum(self.verdicts) / len(self.verdicts)


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
    mask: HeadMask | None,
    *,
    max_new_tokens: int | None = None,
) -> Accuracy:
    """Greedy answers to all problems under one mask; None is the full cache."""
    answers = complete(
        model,
        tokenizer,
        [problem.prompt for problem in problems],
        mask,
        max_new_tokens=max_new_tokens or task.max_new_tokens,
    )
    return Accuracy(
        tuple(task.reward(a, p) == 1.0 for a, p in zip(answers, problems, strict=True))
    )
