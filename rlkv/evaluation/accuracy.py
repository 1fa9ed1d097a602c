"""Accuracy of a model on a task under one mask, at once; `rlkv.evaluation.run` is the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.cache import SplitHeadCache
from rlkv.explore.stopping import Stop, never
from rlkv.generation import end_tokens, prompt_ids
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, Task
from rlkv.training.rollout import Draw, rollouts
from rlkv.training.verifier import Verifier

ROWS_AT_ONCE = 50


@dataclass(frozen=True)
class Accuracy:
    """The verdicts on one mask, and what it cost."""

    verdicts: tuple[bool, ...]
    """Right or not, in the order of the problems; a right answer has ended by itself."""
    mean_tokens: float
    """Generated tokens of an answer."""
    kv_bytes: int
    """Mean bytes of keys and values that an answer held at its end."""

    @property
    def value(self) -> float:
        """Share of problems answered right."""
        return sum(self.verdicts) / len(self.verdicts)


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
    mask: HeadMask,
    *,
    max_new_tokens: int | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    stop: Stop = never,
) -> Accuracy:
    """Greedy answers to all problems under one mask.

    Raises:
        Stopped: if `stop()` says so, asked before every token.
    """
    prompts = [prompt_ids(tokenizer, problem.prompt) for problem in problems]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # little padding
    answers = rollouts(
        model,
        [prompts[i] for i in order],
        Draw(max_new_tokens or task.max_new_tokens, temperature=0.0),
        end_tokens(model, tokenizer),
        lambda: SplitHeadCache(model, mask),
        rows_at_once,
        stop=stop,
    )
    found = Verifier(task, tokenizer).right(answers, [problems[i] for i in order])
    right = dict(zip(order, found, strict=True))
    return Accuracy(
        verdicts=tuple(right[i] for i in range(len(problems))),
        mean_tokens=sum(len(answer.ids) for answer in answers) / len(answers),
        kv_bytes=sum(answer.kv_bytes for answer in answers) // len(answers),
    )
