"""The problems to train on: those that the untouched model solves by itself.

Where it fails anyway the reward says nothing about the gates (arXiv 2510.08525, section 3.3).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.errors import UserError
from rlkv.generation import chat_prompt, complete
from rlkv.tasks import Problem, Task
from rlkv.tasks.answers import opened_thinking

BATCH = 64


def solved_problems(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    *,
    count: int,
    seed: int,
    max_new_tokens: int,
    progress: Callable[[int, int], bool] = lambda done, total: True,
) -> list[Problem]:
    """Draws `count` problems and returns those that the model answers right, greedily.

    `progress(done, total)` is called after each batch; returning False ends the search early.

    Raises:
        UserError: if the model solves none.
    """
    problems = task.problems(count, seed=seed)
    count = len(problems)
    opened = opened_thinking(chat_prompt(tokenizer, problems[0].prompt))
    solved: list[Problem] = []
    for at in range(0, count, BATCH):
        part = problems[at : at + BATCH]
        prompts = [problem.prompt for problem in part]
        answers = complete(
            model, tokenizer, prompts, None, max_new_tokens=max_new_tokens, batch_size=BATCH
        )
        solved += [
            p for p, a in zip(part, answers, strict=True) if task.reward(opened + a.text, p) == 1.0
        ]
        if not progress(min(at + BATCH, count), count):
            break
    if not solved:
        raise UserError(
            f"The model solves none of {count} '{task.name}' problems by itself, so its heads "
            "can't be told apart: choose an easier task, a longer answer or another model."
        )
    return solved


def schedule(problems: list[Problem], count: int, seed: int) -> list[Problem]:
    """`count` problems in training order: the pool, reshuffled each time it is used up."""
    rng = random.Random(seed)
    order: list[Problem] = []
    while len(order) < count:
        order += rng.sample(problems, len(problems))
    return order[:count]
