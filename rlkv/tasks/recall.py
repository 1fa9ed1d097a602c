"""Recall: which value belongs to a key, among many pairs given far above.

The pairs stand at the beginning and the question at the end, so the value has to be fetched from
as far back as there are pairs; nothing has to be computed. Small models manage a part of it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from rlkv.tasks.answers import final_part
from rlkv.tasks.base import Problem, Split
from rlkv.tasks.splits import draw_problems
from rlkv.tasks.words import KEYS, VALUES

MAX_WORDS = 16
"""Words of an answer at most: it names a value, it does not recite the list."""

_DENIAL = re.compile(r"\bnot\b|n['\u2019]t\b|\bnever\b", re.IGNORECASE)


@dataclass(frozen=True)
class Recall:
    """Recall among `smallest` to `largest` pairs."""

    smallest: int = 8
    largest: int = 32
    name: str = "recall"
    max_new_tokens: int = 32

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` problems; see `Task.problems`."""
        return draw_problems(self._draw, n, seed=seed, split=split)

    def reward(self, completion: str, problem: Problem) -> float:
        """1.0 if one short sentence names the right value, at its end, and no other value."""
        final = final_part(completion)
        if final is None or _DENIAL.search(final):
            return 0.0
        words = re.findall(r"[a-z]+", final.lower())
        named = {word for word in words if word in VALUES}
        right = named == {problem.answer} and words[-1] == problem.answer
        return float(right and len(words) <= MAX_WORDS)

    def _draw(self, rng: random.Random) -> Problem:
        size = rng.randint(self.smallest, self.largest)
        pairs = list(zip(rng.sample(KEYS, size), rng.sample(VALUES, size), strict=True))
        key, value = rng.choice(pairs)
        lines = "\n".join(f"{left}: {right}" for left, right in pairs)
        prompt = (
            f"Each word on the left has a partner on the right.\n\n{lines}\n\n"
            f"What is the partner of {key}? Answer with that one word."
        )
        return Problem(prompt, value, size)
