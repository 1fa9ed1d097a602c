"""Variable tracing: the task of the embedded model, solved with a chain of thought.

A problem names a few digits and defines further names from two earlier ones, all modulo 10:

    c=7; b=6; e:c-b; k:c-e; ?k

The chain copies each definition, looks its operands up, computes, and states the result
before it is used again:

    e:c-b; c=7 b=6; 7-6=1; e=1; k:c-e; c=7 e=1; 7-1=6; k=6;

So every operand and every definition has to be fetched from far behind the current token:
a model whose heads all see only a short window cannot answer. A *fact* such as `c=7` is one
token of the embedded model's vocabulary; with name and value as separate tokens small models
do not learn the look-up in any reasonable time.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from rlkv.tasks.base import Problem, Split
from rlkv.tasks.splits import draw_problems

NAMES = "abcdefghijkl"
THINK_END = "</think>"

_FACT = re.compile(r"([a-l])=([0-9])")
_DEFINITION = re.compile(r"([a-l]):([a-l])([+-])([a-l])")
_QUERY = re.compile(r"\?([a-l])")


@dataclass(frozen=True)
class Definition:
    """`name := left op right`, modulo 10."""

    name: str
    left: str
    op: str
    right: str

    def __str__(self) -> str:
        return f"{self.name}:{self.left}{self.op}{self.right}"


@dataclass(frozen=True)
class Tracing:
    """Variable tracing with `smallest` to `largest` names a problem."""

    smallest: int = 5
    largest: int = 8
    name: str = "tracing"
    max_new_tokens: int = 112

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` problems; see `Task.problems`."""

        def one(rng: random.Random) -> Problem:
            return draw(rng, rng.randint(self.smallest, self.largest))

        return draw_problems(one, n, seed=seed, split=split)

    def reward(self, completion: str, problem: Problem) -> float:
        """1.0 if what follows the closed thinking part is exactly the answer.

        An answer inside unfinished thinking earns nothing, nor does a list of guesses.
        """
        thinking, closed, final = completion.rpartition(THINK_END)
        if not closed or THINK_END in thinking:
            return 0.0
        return float("".join(final.split()) in (problem.answer, problem.answer[-1]))


def draw(rng: random.Random, n_names: int) -> Problem:
    """One problem over `n_names` names: two given values (three from six names on)."""
    names = rng.sample(NAMES, n_names)
    n_given = 2 if n_names < 6 else 3
    parts = [f"{name}={rng.randrange(10)}" for name in names[:n_given]]
    for i in range(n_given, n_names):
        left, right = rng.sample(names[:i], 2)
        parts.append(str(Definition(names[i], left, rng.choice("+-"), right)))
    query = rng.choice(names[n_given:])
    prompt = "; ".join([*parts, f"?{query}"])
    return Problem(prompt=prompt, answer=solve(prompt)[1], size=n_names)


def solve(prompt: str) -> tuple[str, str]:
    """Returns the worked chain and the answer, e.g. `("e:c-b; ... ", "e=1")`.

    Raises:
        ValueError: if the prompt is not a tracing problem, saying what is wrong with it.
    """
    values: dict[str, int] = {}
    chain: list[str] = []
    *statements, query = [part.strip() for part in prompt.strip().rstrip(";").split(";")]
    for statement in statements:
        if fact := _FACT.fullmatch(statement):
            values[fact[1]] = int(fact[2])
        elif match := _DEFINITION.fullmatch(statement):
            chain.append(_work(Definition(*match.groups()), values))
        else:
            raise ValueError(
                f"'{statement}' is neither a value (c=7) nor a definition (e:c-b). "
                f"Names are {NAMES[0]} to {NAMES[-1]}, operators + and -."
            )
    asked = _QUERY.fullmatch(query)
    if not asked:
        raise ValueError("the problem must end with a question such as ?k")
    if asked[1] not in values:
        raise ValueError(f"'{asked[1]}' is asked for but never defined")
    return " ".join(chain), f"{asked[1]}={values[asked[1]]}"


def _work(d: Definition, values: dict[str, int]) -> str:
    """The chain's words for one definition; adds its result to `values`."""
    for operand in (d.left, d.right):
        if operand not in values:
            raise ValueError(f"'{d}' uses '{operand}' before it is defined")
    left, right = values[d.left], values[d.right]
    result = (left + right if d.op == "+" else left - right) % 10
    values[d.name] = result
    return (
        f"{d}; {d.left}={left} {d.right}={right}; {left}{d.op}{right}={result}; {d.name}={result};"
    )
