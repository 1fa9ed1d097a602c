"""Which problems are trained on and which are held out.

A problem's split follows from its prompt alone, so no seed, machine or order of a file can put
one into both. Data sets that come with splits of their own keep those (`rlkv.tasks.maths_sets`).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable

from rlkv.errors import UserError
from rlkv.tasks.base import Problem, Split

TEST_SHARE = 0.25
"""Share of all possible problems that is held out."""

ATTEMPTS = 1000
"""Draws in a row that may miss the wanted split before a task counts as having no such problem."""


def split_of(prompt: str) -> Split:
    """The split of a prompt: by the first four bytes of its SHA-256."""
    number = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big")
    return "test" if number < TEST_SHARE * 2**32 else "train"


def draw_problems(
    draw: Callable[[random.Random], Problem], n: int, *, seed: int, split: Split
) -> list[Problem]:
    """Calls `draw` until `n` problems of the split are found; they may repeat.

    Raises:
        UserError: if the split stays empty.
    """
    rng = random.Random(seed)
    found: list[Problem] = []
    missed = 0
    while len(found) < n:
        problem = draw(rng)
        if split_of(problem.prompt) == split:
            found.append(problem)
            missed = 0
        elif (missed := missed + 1) == ATTEMPTS:
            raise UserError(
                f"This task has too few different problems to fill its {split} split: choose "
                "another task or larger sizes."
            )
    return found


def pick(problems: Iterable[Problem], n: int, *, seed: int) -> list[Problem]:
    """`n` different problems in an order given by the seed, or all if there are fewer."""
    rest = list(dict.fromkeys(problems))
    random.Random(seed).shuffle(rest)
    return rest[:n]
