"""Small stand-ins of the data sets, and how each task's right and wrong answers are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rlkv.tasks import TASKS, Problem, Task, get_task
from rlkv.tasks.words import VALUES

ADD = {
    "text": "Write a function to add {n} to a number.",
    "code": "def add(x):\n    return x + {n}",
    "test_list": ["assert add(1) == {a}", "assert add(-4) == {b}", "assert add(10) == {c}"],
}

NAMES = (*TASKS, "jsonl")

FINAL = {
    "tracing": "{}",
    "recall": "The partner is {}.",
    "repeat": "Here they are: {}",
    "mbpp": "A program:\n```python\ndef add(x):\n    return x + {}\n```",
    "gym": "So <answer>{}</answer>",
}
"""A final part that states an answer; tasks that are not here are asked for `\\boxed{}`."""
NAME_IS_DIGIT = {"tracing"}
"""Tasks whose answers are like `k=6`."""


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_datasets(folder: Path) -> Path:
    """All data sets in the fields of the Hub, a dozen rows each."""
    for split, start in (("train", 0), ("test", 100)):
        numbers = range(start, start + 12)
        write_rows(
            folder / "gsm8k" / f"{split}.jsonl",
            [
                {
                    "question": f"Mia has {n} shells and finds 2 more. How many has she?",
                    "answer": f"{n} + 2 = <<{n}+2={n + 2}>>{n + 2}\n#### {n + 2:,}",
                }
                for n in numbers
            ],
        )
        write_rows(folder / "mbpp" / f"{split}.jsonl", [add_row(n) for n in numbers])
    halves: list[dict[str, object]] = [
        {"problem": f"What is half of {n}?", "answer": f"\\frac{{{n}}}{{2}}"}
        for n in range(1001, 1061, 2)
    ]
    write_rows(folder / "math-500" / "test.jsonl", halves)
    write_rows(folder / "deepscaler" / "train.jsonl", halves)
    aime: list[dict[str, object]] = [
        {"problem": f"Find the remainder of {n} modulo 1000.", "answer": str(n)} for n in range(30)
    ]
    write_rows(folder / "aime24" / "test.jsonl", aime)
    return folder


def add_row(n: int) -> dict[str, object]:
    values = {"n": n, "a": 1 + n, "b": n - 4, "c": 10 + n}
    tests = [test.format(**values) for test in ADD["test_list"]]
    return {"text": str(ADD["text"]).format(**values), "code": "", "test_list": tests}


@dataclass(frozen=True)
class Case:
    """A task with one of its problems."""

    name: str
    task: Task
    problem: Problem

    def right(self) -> str:
        """A final part that states the right answer."""
        return self._final(self._answer())

    def wrong(self) -> str:
        """A final part of the same form with another answer."""
        return self._final(self._other())

    def spray(self) -> str:
        """A final part that states a wrong and the right answer."""
        if self.name == "recall":
            return f"The partner is {self._other()} or {self._answer()}."
        if self.name == "repeat":
            return self._other() + " " + self._answer()
        return self.wrong() + "\n" + self.right()

    def _final(self, answer: str) -> str:
        kind = "gym" if self.name.startswith("gym:") else self.name
        return FINAL.get(kind, "So it is $\\boxed{{{}}}$.").format(answer)

    def _answer(self) -> str:
        if self.name == "mbpp":
            return self.problem.prompt.split("add ")[1].split()[0]
        if self.name.startswith("gym:") or self.name == "jsonl":
            return str(json.loads(self.problem.answer)["answer"])
        return self.problem.answer

    def _other(self) -> str:
        right = self._answer()
        if self.name in NAME_IS_DIGIT:
            return f"{right[:-1]}{(int(right[-1]) + 1) % 10}"
        if self.name == "recall":
            return next(word for word in VALUES if word != right)
        if self.name == "repeat":
            first, second, *rest = right.split()
            return " ".join([second, first, *rest])
        if self.name == "mbpp":
            return str(int(right) + 1)
        if self.name == "gym:syllogism":
            return {"Yes": "No", "No": "Yes"}[right]
        if self.name.startswith("gym:"):
            return "4711"
        return f"{right}+1"


def make_case(name: str, folder: Path) -> Case:
    """The first problem of a task; its data sets lie in `folder`."""
    if name == "jsonl":
        path = write_rows(
            folder / "own.jsonl",
            [{"prompt": f"What is {n} times 7?", "answer": 7 * n} for n in range(1, 13)],
        )
        task = get_task(f"jsonl:{path}")
    else:
        task = get_task(name)
    own_test = name in ("math-500", "aime24")
    (problem,) = task.problems(1, seed=4, split="test" if own_test else "train")
    return Case(name, task, problem)
