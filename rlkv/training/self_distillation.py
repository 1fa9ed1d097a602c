"""The problems to train on: those that the untouched model solves by itself, with its answers.

Where it fails anyway the reward says nothing about the gates (arXiv 2510.08525, section 3.3).
The greedy answers are kept beside the jobs, so that the next one on this model and task begins
with them.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.errors import UserError
from rlkv.generation import end_tokens, prompt_ids
from rlkv.tasks import Problem, Task
from rlkv.training.rollout import Draw, rollouts
from rlkv.training.rollout_cache import WholeCache
from rlkv.training.verifier import Verifier

BATCH = 64
BINS = 4
"""Equal bins of answer length that a pool is drawn from where nothing else is asked."""


@dataclass(frozen=True)
class Solution:
    """A problem with the untouched model's greedy answer."""

    problem: Problem
    ids: tuple[int, ...]
    """Tokens of the answer, the end token included."""
    right: bool


def attempt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
    *,
    max_new_tokens: int,
    known: SolutionFile | None = None,
    rows_at_once: int = 0,
    progress: Callable[[int, int, int], bool] = lambda done, total, right: True,
) -> list[Solution]:
    """The model's greedy answers to the problems, in order; those in `known` are not asked again.

    `progress(done, total, right)` is called after each batch; returning False ends the search.
    """
    found = known.read() if known else {}
    solved = [found[p.prompt, p.answer] for p in problems if (p.prompt, p.answer) in found]
    missing = [p for p in problems if (p.prompt, p.answer) not in found]
    right = sum(s.right for s in solved)
    go_on = progress(len(solved), len(problems), right)
    size = rows_at_once or BATCH
    for at in range(0, len(missing), size):
        if not go_on:
            break
        part = missing[at : at + size]
        new = _answer(model, tokenizer, task, part, max_new_tokens)
        if known:
            known.add(new)
        solved += new
        right += sum(s.right for s in new)
        go_on = progress(len(solved), len(problems), right)
    by_problem = {(s.problem.prompt, s.problem.answer): s for s in solved}
    keys = ((p.prompt, p.answer) for p in problems)
    return [by_problem[key] for key in keys if key in by_problem]


def _answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
    max_new_tokens: int,
) -> list[Solution]:
    drawn = rollouts(
        model,
        [prompt_ids(tokenizer, p.prompt) for p in problems],
        Draw(max_new_tokens, temperature=0.0),
        end_tokens(model, tokenizer),
        lambda: WholeCache(model),
    )
    right = Verifier(task, tokenizer).right(drawn, list(problems))
    return [Solution(p, tuple(r.ids), ok) for p, r, ok in zip(problems, drawn, right, strict=True)]


class SolutionFile:
    """The answers of one model to one task, a JSON object a line, added to as jobs ask more."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[tuple[str, str], Solution]:
        """What is there, by prompt and answer; a torn or foreign line counts as not there."""
        return {(s.problem.prompt, s.problem.answer): s for s in self._lines()}

    def _lines(self) -> Iterator[Solution]:
        if not self.path.is_file():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                problem = Problem(**row["problem"])
                ids = tuple(int(i) for i in row["ids"])
                yield Solution(problem, ids, bool(row["right"]))
            except (ValueError, TypeError, KeyError):
                continue

    def add(self, solutions: Iterable[Solution]) -> None:
        """Adds lines in one write, so that jobs side by side don't cut into each other's."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(asdict(s)) + "\n" for s in solutions)
        torn = self.path.is_file() and self.path.stat().st_size and not self._ends_whole()
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + lines if torn else lines)

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"


def fingerprint(model: PreTrainedModel, tokenizer: Any, task: Task, max_new_tokens: int) -> str:
    """Names what greedy answers depend on: weights, number format, vocabulary, task, length."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.flatten()[:64].float().cpu().numpy().tobytes())
    digest.update(f"{len(tokenizer)} {tokenizer.chat_template}".encode())
    digest.update(f"{task!r} {task.name} {max_new_tokens}".encode())
    return digest.hexdigest()[:24]


def solved_only(solutions: Sequence[Solution], task: Task) -> list[Solution]:
    """Those answered right.

    Raises:
        UserError: if there is none.
    """
    right = [s for s in solutions if s.right]
    if not right:
        raise UserError(
            f"The model solves none of {len(solutions)} '{task.name}' problems by itself, so its "
            "heads can't be told apart: choose an easier task, a longer answer or another model."
        )
    return right


def stratified(solutions: Sequence[Solution], size: int, strata: str, seed: int) -> list[Solution]:
    """A pool of at most `size`, drawn over answer lengths as `strata` says (`TrainConfig.strata`).

    Bins that hold too few are made up for by the others. 0 takes all.
    """
    if not size or len(solutions) <= size:
        return list(solutions)
    rng = random.Random(seed)
    shuffled = rng.sample(list(solutions), len(solutions))
    chosen: list[Solution] = []
    below = 0
    for upto, count in _bins(solutions, size, strata):
        inside = [s for s in shuffled if below <= len(s.ids) < upto]
        chosen += inside[: min(count, size - len(chosen))]
        below = upto
    taken = set(map(id, chosen))
    chosen += [s for s in shuffled if id(s) not in taken][: size - len(chosen)]
    rng.shuffle(chosen)  # whoever looks at the first of them looks at all lengths
    return chosen


def _bins(solutions: Sequence[Solution], size: int, strata: str) -> list[tuple[int, int]]:
    """Upper bound (exclusive) and number of each bin, shortest first."""
    if strata:
        pairs = (part.split(":") for part in strata.split(","))
        return sorted((int(upto), int(count)) for upto, count in pairs)
    lengths = [len(s.ids) for s in solutions]
    low, high = min(lengths), max(lengths) + 1
    edges = [low + (high - low) * (i + 1) // BINS for i in range(BINS)]
    return [(edge, size // BINS) for edge in edges]


def schedule(problems: Sequence[Problem], count: int, seed: int) -> list[Problem]:
    """`count` problems in training order: the pool, reshuffled each time it is used up."""
    rng = random.Random(seed)
    order: list[Problem] = []
    while len(order) < count:
        order += rng.sample(list(problems), len(problems))
    return order[:count]
