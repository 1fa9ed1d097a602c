"""Probe texts: problems of a task with the untouched model's own answers, the right ones.

Heads are measured on what the model does well by itself: there it must have looked at the right
places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.explore.stopping import Stop, check, never
from rlkv.generation import chat_prompt, encode, end_tokens
from rlkv.layout import layout_of
from rlkv.masks import HeadMask
from rlkv.models import max_length
from rlkv.tasks import Problem, Task, get_task
from rlkv.tasks.answers import opened_thinking
from rlkv.training.rollout import Draw, Rollout, rollouts

TRIES = 3
"""Problems that are tried for each right answer that is wanted, at most."""
ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class ProbeText:
    """One problem and the untouched model's greedy answer."""

    prompt: tuple[int, ...]
    """Token ids with the chat template."""
    answer: tuple[int, ...]
    """Token ids, the end token included."""
    problem: Problem
    right: bool
    """The task's verdict. If no answer at all was right there are only wrong ones."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and answer."""
        return self.prompt + self.answer


def probe_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: str | Task,
    n: int,
    seed: int,
    *,
    stop: Stop = never,
) -> list[ProbeText]:
    """The first `n` problems of a draw from the training split that the model gets right.

    Fewer if the model is right too seldom; the first `n` with wrong answers if it never is.

    Raises:
        UserError: if there is no such task, or one of its problems does not fit the model.
        Stopped: if `stop()` says so, asked between batches.
    """
    if n < 1:
        raise UserError("At least one probe text is needed.")
    task = get_task(task) if isinstance(task, str) else task
    problems = task.problems(TRIES * n, seed=seed, split="train")
    right: list[ProbeText] = []
    wrong: list[ProbeText] = []
    size = min(n, ROWS_AT_ONCE)
    for at in range(0, len(problems), size):
        if len(right) >= n:
            break
        check(stop)
        for text in _answered(model, tokenizer, task, problems[at : at + size]):
            (right if text.right else wrong).append(text)
    return (right or wrong)[:n]


def _answered(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
) -> list[ProbeText]:
    prompts = [encode(tokenizer, p.prompt, max_length(model.config))[0].tolist() for p in problems]
    room = max_length(model.config) - max(map(len, prompts))
    full = HeadMask.full(*layout_of(model).shape)
    answers = rollouts(
        model,
        prompts,
        Draw(min(task.max_new_tokens, room), temperature=0.0),
        end_tokens(model, tokenizer),
        lambda: SplitHeadCache(model, full),
    )

    def text(problem: Problem, prompt: list[int], answer: Rollout) -> ProbeText:
        words = tokenizer.decode(answer.ids, skip_special_tokens=True)
        opened = opened_thinking(chat_prompt(tokenizer, problem.prompt))
        right = task.reward(opened + str(words), problem) == 1.0
        return ProbeText(tuple(prompt), tuple(answer.ids), problem, right)

    return [text(*one) for one in zip(problems, prompts, answers, strict=True)]
