"""Published sets of mathematics problems, checked by math-verify.

GSM8K (Cobbe et al., 2021) keeps its own training and test problems. MATH-500 (Lightman et al.,
2023) and AIME 2024 are test sets: they measure and are never trained on. DeepScaleR (2025) has
one set only, of which a fixed quarter is held out (`rlkv.tasks.splits`).
"""

from __future__ import annotations

from dataclasses import dataclass

from rlkv.errors import UserError
from rlkv.tasks.answers import stated_answer
from rlkv.tasks.base import Problem, Split
from rlkv.tasks.maths import same_maths
from rlkv.tasks.sources import Row, Source, rows
from rlkv.tasks.splits import pick, split_of

REQUEST = "Reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True)
class MathsSet:
    """One data set with a mathematical answer to every question."""

    source: Source
    question: str
    """Field of the question."""
    max_new_tokens: int
    answer: str = "answer"
    """Field of the answer; of a solution ending in `#### n` only that counts."""

    @property
    def name(self) -> str:
        return self.source.name

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` different problems, or all; see `Task.problems`."""
        own = set(self.source.files)
        if own == {"test"} and split == "train":
            raise UserError(
                f"'{self.name}' is a test set and not for training: train on another task, such "
                "as gsm8k or deepscaler, and measure on this one."
            )
        problems = self._read(split if split in own else "train")
        if own == {"train"}:
            problems = [p for p in problems if split_of(p.prompt) == split]
        elif own == {"train", "test"} and split == "train":
            held_out = {problem.prompt for problem in self._read("test")}
            problems = [p for p in problems if p.prompt not in held_out]
        if not problems:
            raise UserError(f"'{self.name}' has no problem in its {split} split.")
        return pick(problems, n, seed=seed)

    def reward(self, completion: str, problem: Problem) -> float:
        """1.0 if the one stated answer is mathematically the right one."""
        given = stated_answer(completion)
        return float(given is not None and same_maths(given, problem.answer))

    def _read(self, own_split: str) -> list[Problem]:
        found = [self._problem(row) for row in rows(self.source, own_split)]
        return [problem for problem in found if problem.answer]

    def _problem(self, row: Row) -> Problem:
        missing = {self.question, self.answer} - set(row)
        if missing:
            raise UserError(
                f"A row of '{self.name}' has no field '{min(missing)}': the fields of "
                f"{self.source.repo} are '{self.question}' and '{self.answer}'."
            )
        answer = str(row[self.answer]).rpartition("####")[2].strip()
        return Problem(f"{str(row[self.question]).strip()}\n\n{REQUEST}", answer)


SETS = {
    "gsm8k": MathsSet(
        Source(
            "gsm8k", "openai/gsm8k", {"train": "main/train*.parquet", "test": "main/test*.parquet"}
        ),
        question="question",
        max_new_tokens=1024,
    ),
    "math-500": MathsSet(
        Source("math-500", "HuggingFaceH4/MATH-500", {"test": "test*"}),
        question="problem",
        max_new_tokens=4096,
    ),
    "aime24": MathsSet(
        Source("aime24", "HuggingFaceH4/aime_2024", {"test": "data/train*.parquet"}),
        question="problem",
        max_new_tokens=16384,
    ),
    "deepscaler": MathsSet(
        Source("deepscaler", "agentica-org/DeepScaleR-Preview-Dataset", {"train": "*.json"}),
        question="problem",
        max_new_tokens=4096,
    ),
}
