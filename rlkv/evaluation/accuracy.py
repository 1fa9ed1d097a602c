"""Accuracy of a model on a task under a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.generation import chat_prompt, complete
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, Task
from rlkv.tasks.answers import opened_thinking


@dataclass(frozen=True)
class Accuracy:
    """The verdicts on one mask, and what it cost."""

    verdicts: tuple[bool, ...]
    """Right or wrong, in the order of the problems."""
    mean_tokens: float
    """Generated tokens of an answer."""
    kv_bytes: int
    """Mean measured bytes of keys and values of a row at the end of its batch."""

    @property
    def value(self) -> float:
        """Share of problems answered right."""
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
    prompts = [problem.prompt for problem in problems]
    answers = list(
        complete(
            model, tokenizer, prompts, mask, max_new_tokens=max_new_tokens or task.max_new_tokens
        )
    )
    pairs = zip(answers, problems, strict=True)
    opened = opened_thinking(chat_prompt(tokenizer, prompts[0])) if prompts else ""
    return Accuracy(
        verdicts=tuple(task.reward(opened + a.text, problem) == 1.0 for a, problem in pairs),
        mean_tokens=sum(answer.n_tokens for answer in answers) / len(answers),
        kv_bytes=sum(answer.kv_bytes for answer in answers) // len(answers),
    )
