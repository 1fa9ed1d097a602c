"""Repeat: give back a list of words, all of them and in order.

Every word of the answer has to be copied from the same place of a list that lies ever further
behind. Small models manage short lists.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from rlkv.tasks.answers import final_part
from rlkv.tasks.base import Problem, Split
from rlkv.tasks.splits import draw_problems
from rlkv.tasks.words import KEYS, VALUES

MAX_OTHER_WORDS = 8
"""Words before the list ("Here are the words in order") that an answer may have."""


@dataclass(frozen=True)
class Repeat:
    """Repeating `smallest` to `largest` words."""

    smallest: int = 4
    largest: int = 9
    name: str = "repeat"
    max_new_tokens: int = 40

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` problems; see `Task.problems`."""
        return draw_problems(self._draw, n, seed=seed, split=split)

    def reward(self, completion: str, problem: Problem) -> float:
        """1.0 if the answer ends with exactly the list; numbering and punctuation don't count."""
        final = final_part(completion)
        words = re.findall(r"[a-z]+", (final or "").lower())
        asked = problem.answer.split()
        before = words[: -len(asked)]
        right = words[-len(asked) :] == asked
        known = set(KEYS) | set(VALUES)
        return float(right and len(before) <= MAX_OTHER_WORDS and not known & set(before))

    def _draw(self, rng: random.Random) -> Problem:
        size = rng.randint(self.smallest, self.largest)
        words = " ".join(rng.sample(KEYS + VALUES, size))
        prompt = f"Repeat these words in the same order, and nothing else:\n\n{words}"
        return Problem(prompt, words, size)
