"""What another mask does to one answer: compressing a head, or giving it back.

The answer is written greedily under the first mask. Then both masks read that same answer in
split caches, and for every token the two predictions are compared. Where the second mask's first
choice is another token, its own greedy answer takes another way: it is written from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.errors import UserError
from rlkv.explore.answering import greedy, judged
from rlkv.explore.pieces import pieces
from rlkv.explore.stopping import Stop, check, never
from rlkv.generation import chat_prompt, encode, end_tokens
from rlkv.layout import layout_of
from rlkv.masks import HeadMask
from rlkv.models import max_length
from rlkv.tasks import Problem, Task
from rlkv.tasks.answers import opened_thinking


@dataclass(frozen=True)
class Choice:
    """A possible next token."""

    token: int
    piece: str
    probability: float


@dataclass(frozen=True)
class Step:
    """One token of the answer under the first mask, and how both masks saw it coming."""

    token: int
    piece: str
    """Its text; "" if it is only a part of a character."""
    kl: float
    """KL(before || after) of the two predictions in nats; 0 is no difference."""
    before: Choice
    """The likeliest token under the first mask."""
    after: Choice
    """The likeliest token under the second."""


@dataclass(frozen=True)
class Answer:
    """One greedy answer."""

    tokens: tuple[int, ...]
    pieces: tuple[str, ...]
    """Text of each token, special tokens included."""
    text: str
    """Without special tokens."""
    ended: bool
    """Whether it came to an end by itself."""
    right: bool | None
    """The task's verdict; None without a task."""


@dataclass(frozen=True)
class Effect:
    """What the second mask changes."""

    prompt: tuple[str, ...]
    """Pieces of the prompt with its chat template."""
    before: Answer
    after: Answer
    steps: tuple[Step, ...]
    """One for every token of `before`."""
    first_change: int | None
    """Index of the first token that differs between the answers; None if they are the same."""

    @property
    def mean_kl(self) -> float:
        """Mean over the tokens, in nats."""
        return sum(step.kl for step in self.steps) / len(self.steps)


def effect(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    masks: tuple[HeadMask, HeadMask],
    max_new_tokens: int,
    *,
    problem: Problem | None = None,
    task: Task | None = None,
    stop: Stop = never,
) -> Effect:
    """Compares two masks on one question.

    Args:
        prompt: the user's turn; the model's chat template is put around it.
        masks: before and after, such as the full cache and all heads but one.
        problem: with `task`, what the answers are checked against.
        stop: asked before every token; True ends it all.

    Raises:
        UserError: if the prompt is empty, too long or has unknown characters, or a mask's shape
            is not the model's.
        Stopped: if `stop()` says so.
    """
    if max_new_tokens < 1:
        raise UserError("At least one new token is needed.")
    for mask in masks:
        mask.require_shape(*layout_of(model).shape, "this model")
    ids = encode(tokenizer, prompt, max_length(model.config))[0].tolist()
    ends = end_tokens(model, tokenizer)

    def write(mask: HeadMask, begun: Sequence[int] = ()) -> list[int]:
        return greedy(
            model, ids, mask, max_new_tokens=max_new_tokens, ends=ends, begun=begun, stop=stop
        )

    first = write(masks[0])
    steps = _compare(model, tokenizer, ids, first, masks, stop)
    first_change = _first_change(steps)
    second = first
    if first_change is not None:
        second = write(masks[1], [*first[:first_change], steps[first_change].after.token])

    def answer(tokens: list[int]) -> Answer:
        right = None
        if task is not None and problem is not None:
            right = _right(tokenizer, prompt, tokens, problem, task)
        text = str(tokenizer.decode(tokens, skip_special_tokens=True))
        parts = tuple(pieces(tokenizer, tokens))
        return Answer(tuple(tokens), parts, text, tokens[-1] in ends, right)

    shown = tuple(pieces(tokenizer, ids))
    return Effect(shown, answer(first), answer(second), tuple(steps), first_change)


def _right(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    tokens: Sequence[int],
    problem: Problem,
    task: Task,
) -> bool:
    """The task's verdict on an answer."""
    opened = opened_thinking(chat_prompt(tokenizer, prompt))
    text = str(tokenizer.decode(list(tokens), skip_special_tokens=True))
    return task.reward(opened + text, problem) == 1.0


def _first_change(steps: Sequence[Step]) -> int | None:
    """Index of the first token that the second mask would not have written."""
    for at, step in enumerate(steps):
        # Reading an answer at once can tip a tie that writing it left standing (bfloat16): where
        # the first mask tips too, the second has changed nothing.
        if step.after.token not in (step.token, step.before.token):
            return at
    return None


def _compare(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    answer: Sequence[int],
    masks: tuple[HeadMask, HeadMask],
    stop: Stop,
) -> list[Step]:
    """Both masks' predictions of one answer."""
    texts = pieces(tokenizer, answer)
    steps: list[Step] = []
    for before, after in judged(model, prompt, answer, masks):
        check(stop)
        at = len(steps)
        kl = (before.exp() * (before - after)).sum(-1).clamp(min=0.0).tolist()
        best = [_choices(tokenizer, log) for log in (before, after)]
        for n, row in enumerate(zip(kl, *best, strict=True)):
            steps.append(Step(answer[at + n], texts[at + n], *row))
    return steps


def _choices(tokenizer: PreTrainedTokenizerBase, log: torch.Tensor) -> list[Choice]:
    """The likeliest token of each row of log-probabilities `[n, vocabulary]`."""
    best = log.max(-1)
    return [
        Choice(token, str(tokenizer.decode([token])), probability)
        for token, probability in zip(
            best.indices.tolist(), best.values.exp().tolist(), strict=True
        )
    ]
