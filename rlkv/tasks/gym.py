"""Tasks of reasoning-gym (Stojanovski et al., arXiv 2505.24760): endless, generated, offline.

`gym:NAME` is any of its data sets whose verdicts can be trusted. Its verifiers give part of the
points for part of an answer; only full points count here.
"""

from __future__ import annotations

import difflib
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlkv.errors import UserError
from rlkv.tasks.answers import stated_answer
from rlkv.tasks.base import Problem, Split
from rlkv.tasks.maths import is_number, same_maths
from rlkv.tasks.splits import split_of

SELECTION = (
    "chain_sum",
    "basic_arithmetic",
    "gsm_symbolic",
    "simple_equations",
    "leg_counting",
    "base_conversion",
    "letter_counting",
    "number_sorting",
    "word_sorting",
    "word_sequence_reversal",
    "spell_backward",
    "family_relationships",
    "knights_knaves",
    "syllogism",
    "needle_haystack",
    "path_star",
)
"""Those that come with an exact verifier, short answers and a chain of thought worth having."""

EVALUATES = {
    "binary_matrix",
    "countdown",
    "intermediate_integration",
    "n_queens",
    "polynomial_multiplication",
    "puzzle24",
    "simple_integration",
    "spiral_matrix",
    "string_insertion",
}
"""Their verifiers hand the model's text to `eval`, which would run whatever it says."""

UNSTEADY = {"codeio", "list_functions"}
"""Their problems differ from run to run with the same seed, or run code of a data set."""

REQUEST = "Think step by step, and give the final answer between <answer> and </answer>."
MAX_ANSWER = 1000
NONSENSE = "no answer at all"
LOT = 1000
"""Items that are generated from one seed of reasoning-gym."""
ATTEMPTS = 200
"""Items in a row that may be useless before a data set counts as having no exact verifier."""


@dataclass(frozen=True)
class Gym:
    """One data set of reasoning-gym at its default difficulty."""

    dataset: str
    max_new_tokens: int = 1024

    @property
    def name(self) -> str:
        return f"gym:{self.dataset}"

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` problems; see `Task.problems`."""
        found: list[Problem] = []
        missed = 0
        items = self._items(random.Random(f"{self.dataset} {seed}"))
        while len(found) < n:
            problem = next(items)
            if problem is not None and split_of(problem.prompt) == split:
                found.append(problem)
                missed = 0
            elif (missed := missed + 1) == ATTEMPTS:
                raise UserError(
                    f"'{self.name}' has no exact verifier or too few different problems: choose "
                    f"another, such as gym:{SELECTION[0]}."
                )
        return found

    def reward(self, completion: str, problem: Problem) -> float:
        """1.0 if reasoning-gym gives the one stated answer full points."""
        given = stated_answer(completion)
        if given is None or len(given) > MAX_ANSWER:
            return 0.0
        entry = json.loads(problem.answer)
        if is_number(entry["answer"]) and not same_maths(given, entry["answer"]):
            return 0.0  # some verifiers take the first of several numbers
        return float(self._points(_verifier(self.dataset), given, entry) == 1)

    def _items(self, rng: random.Random) -> Iterator[Problem | None]:
        """Problems without end; None where the verdict on one could not be trusted."""
        verifier = _verifier(self.dataset)
        items = (
            # A new seed for each lot: the items of neighbouring seeds are mostly the same ones.
            item
            for _ in itertools.count()
            for item in _create(self.dataset, seed=rng.randrange(2**31), size=LOT)
        )
        for item in items:
            answer = json.dumps(
                {key: item[key] for key in ("question", "answer", "metadata")}, default=str
            )
            entry = json.loads(answer)
            right = isinstance(item["answer"], str) and len(item["answer"]) <= MAX_ANSWER
            exact = right and self._points(verifier, stated(item["answer"]), entry) == 1
            exact = exact and self._points(verifier, NONSENSE, entry) != 1
            yield Problem(f"{item['question'].strip()}\n\n{REQUEST}", answer) if exact else None

    @staticmethod
    def _points(verifier: Any, given: str | None, entry: dict[str, Any]) -> float:
        if given is None:
            return 0.0
        try:
            return float(verifier.score_answer(given, entry))
        except Exception:  # whatever a verifier does with an answer it did not expect
            return 0.0


def stated(answer: str) -> str | None:
    """An answer as it is found again in a completion that states it."""
    return stated_answer(f"<answer>{answer}</answer>")


def require_dataset(name: str) -> None:
    """Raises UserError if reasoning-gym has no data set of this name or it can't be used."""
    if name in SELECTION:
        return  # without importing anything
    if name in EVALUATES:
        raise UserError(
            f"'gym:{name}' is not offered: its verifier runs the model's answer as code. Choose "
            f"another, such as gym:{SELECTION[0]}."
        )
    if name in UNSTEADY:
        raise UserError(
            f"'gym:{name}' is not offered: the same seed does not give the same problems. Choose "
            f"another, such as gym:{SELECTION[0]}."
        )
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        close = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.4) or SELECTION[:3]
        names = " or ".join(f"gym:{match}" for match in close)
        raise UserError(f"reasoning-gym has no data set '{name}'. Did you mean {names}?")


_verifiers: dict[str, Any] = {}


def _verifier(dataset: str) -> Any:
    """A data set to ask for verdicts; they don't depend on its seed."""
    require_dataset(dataset)
    if dataset not in _verifiers:
        _verifiers[dataset] = _create(dataset, seed=0)
    return _verifiers[dataset]


def _create(dataset: str, seed: int, size: int = 1) -> Any:
    import reasoning_gym

    try:
        return reasoning_gym.create_dataset(dataset, seed=seed, size=size)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"'gym:{dataset}' can't be used without settings: {error}") from error
