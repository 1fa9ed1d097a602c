"""MBPP (Austin et al., arXiv 2108.07732): short Python programs, checked by running them.

Each problem has a few tests `assert f(arguments) == value`. The prompt shows the first one only.
The sandbox evaluates `f(arguments)` and sends the value back; it is compared here, so a program
can't pass by ending early, printing something or redefining equality. It could still write down
the values that the tests expect, if it had seen them elsewhere.
"""

from __future__ import annotations

import ast
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from rlkv.errors import UserError
from rlkv.tasks.answers import final_part
from rlkv.tasks.base import Problem, Split
from rlkv.tasks.sandbox import require_allowed, run_code
from rlkv.tasks.sources import Row, Source, rows
from rlkv.tasks.splits import pick

SOURCE = Source(
    "mbpp",
    "google-research-datasets/mbpp",
    {"train": "full/train*.parquet", "test": "full/test*.parquet"},
)
MAX_BLOCKS = 8
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)\n?```", re.DOTALL | re.IGNORECASE)
_BUILDERS = {"set", "frozenset", "list", "tuple", "dict", "sorted", "float", "int", "complex"}
"""Names that an expected value may be made with."""


@dataclass(frozen=True)
class Mbpp:
    """Programs in Python. Building this says at once if they may not be run here."""

    name: str = "mbpp"
    max_new_tokens: int = 1024

    def __post_init__(self) -> None:
        require_allowed()

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` different problems, or all; those whose tests can't be compared are left out.

        See `Task.problems`.
        """
        found = [problem for row in rows(SOURCE, split) if (problem := read_problem(row))]
        if split == "train":
            held_out = {p.prompt for row in rows(SOURCE, "test") if (p := read_problem(row))}
            found = [problem for problem in found if problem.prompt not in held_out]
        if not found:
            raise UserError(f"'{self.name}' has no problem in its {split} split.")
        return pick(found, n, seed=seed)

    def reward(self, completion: str, problem: Problem) -> float:
        """1.0 if the one program of the final part gives the right value in every test."""
        require_allowed()
        answer = json.loads(problem.answer)
        code = program(completion, answer["function"])
        if code is None:
            return 0.0
        checks = answer["checks"]
        expected = _values([check["expected"] for check in checks])
        got = run_code(f"{answer['setup']}\n{code}", [check["call"] for check in checks]).values
        if expected is None or got is None:
            return 0.0
        tests = zip(got, expected, checks, strict=True)
        return float(all(same_value(*test) for test in tests))


def same_value(given: Any, right: Any, check: dict[str, Any]) -> bool:
    """Equal as `==` says between plain data, or close where the test asks for that."""
    close = check.get("close")
    if close is None:
        return bool(given == right)
    if isinstance(given, str) or not isinstance(given, int | float):
        return False
    try:
        return math.isclose(given, right, **close)
    except OverflowError:  # an int beyond any float
        return False


def program(completion: str, function: str) -> str | None:
    """The one program that defines `function`; None if there is none, or several differ."""
    final = final_part(completion)
    if final is None or final.count("```") > 2 * MAX_BLOCKS:
        return None
    defines = re.compile(rf"^\s*(?:def\s+{re.escape(function)}\b|{re.escape(function)}\s*=)", re.M)
    programs = {block.strip() for block in _BLOCK.findall(final) if defines.search(block)}
    return programs.pop() if len(programs) == 1 else None


def read_problem(row: Row) -> Problem | None:
    """A problem from a row of the data set; None if one of its tests has another form."""
    text = row.get("text") or row.get("prompt")
    tests = row.get("test_list")
    if not isinstance(text, str) or not tests:
        raise UserError("A row of 'mbpp' has no field 'text' or no field 'test_list'.")
    every = [*tests, *(row.get("challenge_test_list") or [])]
    checks = [read_check(str(test)) for test in every]
    if None in checks:
        return None
    functions = {check.pop("function") for check in checks if check}
    if len(functions) != 1:
        return None
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
    answer = {
        "function": functions.pop(),
        "setup": setup,
        "checks": [
            {k: v for k, v in check.items() if k != "function"} for check in checks if check
        ],
    }
    prompt = (
        f"{text.strip()}\n\nYour function must pass tests such as this one:\n\n{tests[0]}\n\n"
        "Give the whole program in one ```python block."
    )
    return Problem(prompt, json.dumps(answer), size=len(checks))


def read_check(test: str) -> dict[str, Any] | None:
    """What to call and what to expect, from `assert f(x) == y`, `math.isclose(f(x), y)`, `f(x)`."""
    try:
        (statement,) = ast.parse(test.strip()).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    if not isinstance(statement, ast.Assert):
        return None
    asked: ast.expr = statement.test
    expected: ast.expr = ast.Constant(True)
    close: dict[str, float] | None = None
    if isinstance(asked, ast.Compare):
        if len(asked.ops) != 1 or not isinstance(asked.ops[0], ast.Eq | ast.Is):
            return None
        expected, asked = asked.comparators[0], asked.left
    elif isinstance(asked, ast.Call) and ast.unparse(asked.func) == "math.isclose":
        close = {str(word.arg): ast.literal_eval(word.value) for word in asked.keywords}
        expected, asked = asked.args[1], asked.args[0]
    else:
        asked = ast.Call(ast.Name("bool"), [asked], [])
    called = _names(asked) - _BUILDERS - {"bool", "math", "len", "str", "round"}
    if len(called) != 1 or _names(expected) - _BUILDERS - {"math"}:
        return None
    return {
        "function": called.pop(),
        "call": ast.unparse(asked),
        "expected": ast.unparse(expected),
        **({} if close is None else {"close": close}),
    }


def _values(sources: list[str]) -> tuple[Any, ...] | None:
    """The expected values; those that are no literals are made in the sandbox too."""
    try:
        return tuple(ast.literal_eval(source) for source in sources)
    except ValueError:
        return run_code("import math", sources).values


def _names(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
