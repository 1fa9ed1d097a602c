"""Records the three stories that the app tells, from the embedded model and its mask.

    python examples/record_stories.py

Writes `examples/stories/NAME.json`. Everything a story shows or claims is measured here; which
problem and which head it is told with follows from the rules below, not from taste:

- forgets: of the problems, the one with the longest text, at the moment before its final answer;
  the kept head with the most attention on the name that was asked for.
- stays: the kept head that spoils the most answers when it alone is compressed; the first problem
  that it spoils. Beside it the compressed head that looks far the most and spoils none.
- half: the shortest problem of the longest kind at the mask's own cut; then accuracy at all cuts,
  and the first problem that the first cut with less than 90 % right answers gets wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlkv.evaluation.accuracy import accuracy
from rlkv.explore.effect import Effect, effect
from rlkv.explore.looking import far_share, looks
from rlkv.explore.one_head import one_head, read_question
from rlkv.generation import Sampling, lockstep
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.streaming import StreamingWindow
from rlkv.tasks import Problem, get_task
from ui.components.tokens import pack_rows

HERE = Path(__file__).resolve().parent
PROBLEMS, SEED = 20, 1
MANY, DRAWS = 200, 5
CUTS = [0.0, 0.25, 0.4, 0.5, 0.6, 0.7, 0.75, 0.85, 1.0]
LONGEST = 512
Cell = tuple[int, int]
Record = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """The embedded model, its mask and the problems that stories are chosen from."""

    model: Any
    tokenizer: Any
    task: Any
    mask: HeadMask
    problems: list[Problem]

    @classmethod
    def load(cls) -> Stage:
        model, tokenizer = load_model("tracer")
        task = get_task("tracing")
        mask = HeadMask.load(HERE / "masks" / "tracer")
        return cls(model, tokenizer, task, mask, task.problems(PROBLEMS, seed=SEED, split="test"))

    @property
    def window(self) -> StreamingWindow:
        return StreamingWindow(self.mask.sink, self.mask.recent)

    @property
    def full(self) -> HeadMask:
        return HeadMask.full(*self.mask.shape, sink=self.mask.sink, recent=self.mask.recent)

    def text(self, problem: Problem) -> tuple[list[int], int]:
        """Ids of a problem and the full model's answer, and where the answer begins."""
        new = self.task.max_new_tokens
        return read_question(self.model, self.tokenizer, problem.prompt, LONGEST, new)

    def compare(self, problem: Problem, after: HeadMask) -> Effect:
        """What `after` does to the full cache's answer."""
        masks, new = (self.full, after), self.task.max_new_tokens
        return effect(
            self.model, self.tokenizer, problem.prompt, masks, new, problem=problem, task=self.task
        )

    def verdicts(self, mask: HeadMask, problems: list[Problem]) -> list[bool]:
        return list(accuracy(self.model, self.tokenizer, self.task, problems, mask).verdicts)

    def facts(self) -> Record:
        """What every record says about where it comes from."""
        return {
            "model": "tracer",
            "problems": {"task": "tracing", "n": PROBLEMS, "seed": SEED, "split": "test"},
            "window": {"sink": self.mask.sink, "recent": self.mask.recent},
            "head_bytes": 2 * int(self.mask.info["head_dim"]) * int(self.mask.info["itemsize"]),
            "scores": rounded(self.mask.scores),
            "gates": rounded(np.asarray(self.mask.info["gates"], dtype=np.float32)),
            "kept": self.mask.kept.astype(int).tolist(),
        }


# --- what a streaming head forgets ----------------------------------------------------------


def forgets(stage: Stage) -> Record:
    """One moment at which a kept head reads what a compressed one would have lost."""
    texts = [stage.text(problem) for problem in stage.problems]
    index = max(range(len(texts)), key=lambda i: len(texts[i][0]))
    problem, (ids, begin) = stage.problems[index], texts[index]
    far, asked = np.zeros(stage.mask.shape), np.zeros(stage.mask.shape)
    for cell in np.ndindex(*stage.mask.shape):
        found = one_head(stage.model, stage.tokenizer, ids, cell, stage.window, begin)
        moment, name = places(found.pieces, begin)
        row = found.weights.mean(0)[moment]
        asked[cell] = row[name]
        far[cell] = far_share(row, moment, stage.window)
    head = first_of(np.where(stage.mask.kept, asked, -1.0))
    return {
        **stage.facts(),
        "index": index,
        "prompt": problem.prompt,
        "answer": problem.answer,
        "head": head,
        "query": moment,
        "asked": name,
        **looked(stage, ids, begin, head),
        "far": rounded(far),
        "race": race(stage, problem, stage.mask.at_sparsity(1.0)),
    }


def places(pieces: tuple[str, ...], begin: int) -> tuple[int, int]:
    """Positions of the token after which the final answer is written, and of the asked name."""
    moment = max(i for i, piece in enumerate(pieces) if piece.strip() == "</think>")
    question = max(i for i, piece in enumerate(pieces[:begin]) if piece.strip() == "?")
    return moment, question + 1


# --- why this head must stay ----------------------------------------------------------------


def stays(stage: Stage) -> Record:
    """Each kept head compressed alone; the one that spoils the most, looked at closely."""
    alone = np.zeros(stage.mask.shape, dtype=int)
    verdicts = {}
    for layer, head in np.ndindex(*stage.mask.shape):
        cut = stage.full.toggle(layer, head)
        verdicts[layer, head] = stage.verdicts(cut, stage.problems)
        alone[layer, head] = sum(verdicts[layer, head])
    head = first_of(np.where(stage.mask.kept, -alone, -PROBLEMS - 1))
    index = verdicts[head].index(False)
    problem = stage.problems[index]
    found = stage.compare(problem, stage.full.toggle(*head))
    if found.first_change is None:
        raise RuntimeError("the chosen head changes nothing")
    ids, begin = stage.text(problem)
    far = mean_far(stage)
    calm = (~stage.mask.kept) & (alone == PROBLEMS)
    return {
        **stage.facts(),
        "index": index,
        "prompt": problem.prompt,
        "answer": problem.answer,
        "right_full": sum(stage.verdicts(stage.full, stage.problems)),
        "right_alone": alone.tolist(),
        "far": rounded(far),
        "head": head,
        "calm_head": first_of(np.where(calm, far, -1.0)),
        "query": begin + found.first_change - 1,
        **looked(stage, ids, begin, head),
        **compared(found),
    }


def mean_far(stage: Stage) -> Any:
    """Mean attention on far tokens over the problems' texts [layers, kv_heads]."""
    tables = [looks(stage.model, stage.text(p)[0], stage.window).far for p in stage.problems]
    return np.mean(tables, axis=0)


# --- what 50 % costs ------------------------------------------------------------------------


def half(stage: Stage) -> Record:
    """Accuracy at all cuts, learned against random and opposite, and one answer that breaks."""
    many = stage.task.problems(MANY, seed=SEED, split="test")

    def share(mask: HeadMask) -> float:
        return sum(stage.verdicts(mask, many)) / MANY

    window = {"sink": stage.mask.sink, "recent": stage.mask.recent}
    learned = [share(stage.mask.at_sparsity(cut)) for cut in CUTS]
    opposite = [share(stage.mask.at_sparsity(cut).inverse()) for cut in CUTS]

    def draw(cut: float, seed: int) -> float:
        return share(HeadMask.random(*stage.mask.shape, sparsity=cut, seed=seed, **window))

    random = rounded([np.mean([draw(cut, seed) for seed in range(DRAWS)]) for cut in CUTS])
    breaks = next(cut for cut, value in zip(CUTS, learned, strict=True) if value < 0.9)
    broken = stage.mask.at_sparsity(breaks)
    index = stage.verdicts(broken, stage.problems).index(False)
    problem = stage.problems[index]
    longest = max(p.size for p in stage.problems)
    sample = min((p for p in stage.problems if p.size == longest), key=lambda p: len(p.prompt))
    return {
        **stage.facts(),
        "accuracy": {"n": MANY, "seed": SEED, "draws": DRAWS, "cuts": CUTS}
        | {"learned": learned, "random": random, "opposite": opposite},
        "sample": {"prompt": sample.prompt, "answer": sample.answer},
        "race": race(stage, sample, stage.mask),
        "breaks": breaks,
        "index": index,
        "prompt": problem.prompt,
        "answer": problem.answer,
        **compared(stage.compare(problem, broken)),
    }


# --- what several stories record -------------------------------------------------------------


def looked(stage: Stage, ids: list[int], begin: int, head: Cell) -> Record:
    """Where a head looks in a text."""
    found = one_head(stage.model, stage.tokenizer, ids, head, stage.window, begin)
    return {
        "pieces": list(found.pieces),
        "answer_from": begin,
        "attention": pack_rows(found.weights.mean(0)),
        "by_distance": rounded(np.asarray(found.by_distance)),
        "edges": list(found.edges),
    }


def compared(found: Effect) -> Record:
    """Two answers and how they come apart."""
    return {
        "before": {"pieces": list(found.before.pieces), "right": found.before.right},
        "after": {"pieces": list(found.after.pieces), "right": found.after.right},
        "first_change": found.first_change,
        "kl": [round(step.kl, 5) for step in found.steps],
        "likeliest": [
            [[c.piece, round(c.probability, 6)] for c in (step.before, step.after)]
            for step in found.steps
        ],
    }


def race(stage: Stage, problem: Problem, mask: HeadMask) -> Record:
    """Both sides token by token, in the shape of `examples/comparison.json`.

    Without times: a record is the same on every machine.
    """
    new = Sampling(stage.task.max_new_tokens)
    steps = list(lockstep(stage.model, stage.tokenizer, problem.prompt, [None, mask], new))
    sides = []
    for i in range(2):
        seen = {step[i].n_tokens: step[i] for step in steps}
        last = steps[-1][i]
        sides.append(
            {
                "steps": [
                    {name: getattr(s, name) for name in ("text", "n_tokens", "length", "kv_bytes")}
                    | {"seconds": 0}
                    for s in seen.values()
                ],
                "stop_reason": last.stop_reason,
                "right": stage.task.reward(last.text, problem) == 1.0,
            }
        )
    return {"prompt": problem.prompt, "sparsity": mask.sparsity, "sides": sides}


def first_of(table: Any) -> Cell:
    """The cell of the largest value, the first by (layer, head) of equal ones."""
    layer, head = np.unravel_index(int(np.argmax(table)), table.shape)
    return int(layer), int(head)


def rounded(table: Any) -> Any:
    return np.round(np.asarray(table, dtype=np.float64), 4).tolist()


STORIES: dict[str, Callable[[Stage], Record]] = {"forgets": forgets, "stays": stays, "half": half}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(STORIES), help="which ones")
    parser.add_argument("--out", type=Path, default=HERE / "stories", help="folder to write to")
    args = parser.parse_args()
    stage = Stage.load()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        text = json.dumps(STORIES[name](stage), separators=(",", ":"), ensure_ascii=False)
        (args.out / f"{name}.json").write_text(text + "\n")
        print(f"{name}: {len(text):,} bytes")


if __name__ == "__main__":
    main()
