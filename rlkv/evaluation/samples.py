"""One answer of an evaluation, and who keeps them. Knows no model and no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rlkv.tasks import Problem

Verdict = Literal["right", "wrong", "overlong", "repetitive"]
"""How an answer ended: right; finished and wrong; cut off at the limit; stuck in a loop."""
VERDICTS: tuple[Verdict, ...] = ("right", "wrong", "overlong", "repetitive")

Place = tuple[str, int, int]
"""(cell, problem, draw): where a sample belongs."""


@dataclass(frozen=True)
class Sample:
    """One answer and what it cost."""

    cell: str
    problem: int
    draw: int
    text: str
    verdict: Verdict
    stop: str
    """ "end", "length" or "repetition"."""
    tokens: int
    """Generated."""
    length: int
    """Tokens in the cache at its end, prompt included."""
    kv_bytes: int
    """Of the cache's slots that it filled when it ended."""

    @property
    def place(self) -> Place:
        return self.cell, self.problem, self.draw


class EvalObserver(Protocol):
    """Keeps the samples of an evaluation, hears how it goes, and may stop it."""

    def event(self, text: str) -> None:
        """A line for the log."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Which part it is in, and how far: "ranking" or "answering"."""

    def plan(
        self,
        problems: Sequence[Problem],
        cells: Sequence[tuple[str, Mapping[str, Any]]],
        draws: int,
    ) -> set[Place]:
        """Told what will be asked before the first answer; returns where answers are already."""
        ...

    def keep(self, samples: Sequence[Sample]) -> None:
        """Stores answers that have just ended, so that they are never asked for again."""

    def should_stop(self) -> bool:
        """Asked before every token; True ends the evaluation, keeping what has ended."""
        ...


def verdict(right: bool, stop: str, looping: bool = False) -> Verdict:
    """The one class of an answer: each counts once. A right one must have ended by itself.

    `looping` says of one that did not whether it was repeating itself.
    """
    if stop != "end":
        return "repetitive" if looping or stop == "repetition" else "overlong"
    return "right" if right else "wrong"
