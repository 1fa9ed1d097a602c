"""What a task is: problems in, verdicts out. Knows nothing about models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Problem:
    """One question with its checkable answer."""

    prompt: str
    """What the user turn of the chat holds."""
    answer: str
    """The right answer, in the form that the task's verifier reads."""
    size: int = 0
    """How hard it is, in the task's own unit (names, steps, digits)."""


class Task(Protocol):
    """A source of problems with a verifier.

    Implementations are cheap to build and hold no model. `seed` names the whole draw: the
    same `(n, seed)` gives the same problems on every machine.
    """

    @property
    def name(self) -> str: ...

    @property
    def max_new_tokens(self) -> int:
        """Room that a right answer needs."""
        ...

    def problems(self, n: int, *, seed: int) -> list[Problem]:
        """Draws `n` problems."""
        ...

    def reward(self, completion: str, problem: Problem) -> float:
        """Scores one completion: 1.0 for a right and finished answer, else 0.0."""
        ...
