"""A task's verdicts on what a model wrote."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from rlkv.generation import chat_prompt
from rlkv.tasks import Problem, Task
from rlkv.tasks.answers import opened_thinking
from rlkv.training.rollout import Rollout


class Verifier:
    """Rewards of decoded answers, and of rollouts, which must have ended by themselves."""

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
        self.task, self.tokenizer = task, tokenizer
        # Some templates open the thinking part themselves; the verifier has to see that.
        self.opened = opened_thinking(chat_prompt(tokenizer, "?"))

    def reward(self, text: str, problem: Problem) -> float:
        """1.0 for a right and finished answer, else 0.0."""
        return self.task.reward(self.opened + text, problem)

    def text(self, rollout: Rollout) -> str:
        """What was written, without special tokens."""
        return str(self.tokenizer.decode(rollout.ids, skip_special_tokens=True))

    def right(self, rollouts: list[Rollout], problems: list[Problem]) -> list[bool]:
        """Which rollouts ended with the right answer."""
        texts = self.tokenizer.batch_decode([r.ids for r in rollouts], skip_special_tokens=True)
        return [
            r.stop_reason == "end" and self.reward(text, p) == 1.0
            for r, text, p in zip(rollouts, texts, problems, strict=True)
        ]
