"""What a task is: problems in, verdicts out. Knows nothing about models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Split = Literal["train", "test"]
"""What a problem may be used for; none is ever in both (`rlkv.tasks.splits`)."""


@dataclass(frozen=True)
class Problem:
    """One question with its checkable answer."""

    prompt: str
    """What the user turn of the chat holds."""
    answer: str
    """All that the task's verifier needs besides the completion, in a form of the task's own."""
    size: int = 0
    """How hard it is, in the task's own unit (names, steps, digits)."""


class Task(Protocol):
    """A source of problems with a verifier.

    Implementations are cheap to build and hold no model. `(n, seed, split)` names the whole
    draw: it gives the same problems on every machine.
    """

    @property
    def name(self) -> str: ...

    @property
    def max_new_tokens(self) -> int:
        """Room that a right answer needs."""
        ...

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` problems of one split; a data set that has fewer gives all it has.

        Raises:
            UserError: if the split has none, or the data can't be read.
        """
        ...

    def reward(self, completion: str, problem: Problem) -> float:
        """Scores one completion: 1.0 for a right and finished answer, else 0.0.

        Looks at the completion and `problem.answer` only. Where the chat template itself opens
        the thinking part, the caller puts that tag before the completion: an answer inside
        unfinished thinking earns nothing.
        """
        ...
