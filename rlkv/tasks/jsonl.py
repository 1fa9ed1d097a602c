"""Problems of one's own: a file with one JSON object a line.

    {"prompt": "What is 6 times 7?", "answer": "42"}

`prompt` is asked as it stands, so it should say how to state the answer (`\\boxed{}`, for one).
`answer` is a text or a number. The optional `verify` is `maths` (the default: 0.5 is 1/2) or
`text` (the same words, spaces and capitals aside).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from rlkv.errors import UserError
from rlkv.tasks.answers import same_text, stated_answer
from rlkv.tasks.base import Problem, Split
from rlkv.tasks.maths import same_maths
from rlkv.tasks.splits import pick, split_of

MAX_BYTES = 100 * 10**6
MAX_LINES = 200_000
MAX_PROMPT, MAX_ANSWER = 100_000, 600
"""Characters."""
VERIFY = ("maths", "text")


@dataclass(frozen=True)
class JsonLines:
    """The problems of one file; a fixed quarter of them is held out."""

    path: Path
    max_new_tokens: int = 2048

    @property
    def name(self) -> str:
        return f"jsonl:{self.path}"

    def problems(self, n: int, *, seed: int, split: Split = "train") -> list[Problem]:
        """Draws `n` different problems, or all; see `Task.problems`."""
        problems = read_problems(self.path)
        chosen = [problem for problem in problems if split_of(problem.prompt) == split]
        if not chosen:
            raise UserError(
                f"{self.path} has {len(problems)} different problems, but none of them falls "
                f"into the {split} split: add more."
            )
        return pick(chosen, n, seed=seed)

    def reward(self, completion: str, problem: Problem) -> float:
        """1.0 if the one stated answer is the right one, by the problem's own way to compare."""
        given = stated_answer(completion)
        if given is None:
            return 0.0
        right = json.loads(problem.answer)
        same = same_text if right["verify"] == "text" else same_maths
        return float(same(given, right["answer"]))


def read_problems(path: Path) -> list[Problem]:
    """All problems of a file, without repetitions.

    Raises:
        UserError: naming the file, and the first line that is wrong.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}: give jsonl: and the path of your file.")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES // 10**6} MB: split it up.")
    found: dict[str, Problem] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if number > MAX_LINES:
                    raise UserError(f"{path} has more than {MAX_LINES} lines: split it up.")
                if line.strip():
                    problem = _problem(line, f"{path}, line {number}")
                    first = found.setdefault(problem.prompt, problem)
                    if first != problem:
                        raise UserError(
                            f"{path}, line {number}: this prompt came before with another answer."
                        )
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read as UTF-8 text: {error}") from error
    return list(found.values())


def _problem(line: str, where: str) -> Problem:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(f'{where} must be an object: {{"prompt": ..., "answer": ...}}')
    unknown = set(row) - {"prompt", "answer", "verify"}
    if unknown:
        raise UserError(f"{where}: '{min(unknown)}' is none of prompt, answer and verify.")
    prompt, answer, verify = row.get("prompt"), row.get("answer"), row.get("verify", "maths")
    if not isinstance(prompt, str) or not 0 < len(prompt.strip()) <= len(prompt) <= MAX_PROMPT:
        raise UserError(f"{where}: 'prompt' must be a text of 1 to {MAX_PROMPT} characters.")
    number = isinstance(answer, int) or (isinstance(answer, float) and math.isfinite(answer))
    if isinstance(answer, bool) or not (isinstance(answer, str) or number):
        raise UserError(f"{where}: 'answer' must be a text or a number.")
    if not 0 < len(str(answer).strip()) <= MAX_ANSWER:
        raise UserError(f"{where}: 'answer' must have 1 to {MAX_ANSWER} characters.")
    if any(0xD800 <= ord(c) <= 0xDFFF for c in prompt + str(answer)):
        raise UserError(f"{where}: half of a character (\\ud800 to \\udfff) stands alone.")
    if verify not in VERIFY:
        raise UserError(f"{where}: 'verify' must be one of: {', '.join(VERIFY)}.")
    return Problem(prompt, json.dumps({"answer": str(answer).strip(), "verify": verify}))
