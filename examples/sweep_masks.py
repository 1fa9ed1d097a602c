"""Accuracy against sparsity: learned masks, and what they have to beat.

    python examples/sweep_masks.py --mask examples/masks/tracer

Prints a Markdown table; every cell is the share of the same unseen problems answered right. With
several masks (seeds of one training) it also prints how far they agree.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import get_task

Cut = Callable[[float], list[HeadMask]]


def main() -> None:
    args = parse()
    cuts = [float(s) for s in args.sparsities.split(",")]
    masks = [HeadMask.load(source) for source in args.mask]
    model, tokenizer = load_model(args.model, dtype=args.dtype)
    task = get_task(args.task)
    problems = task.problems(args.n, seed=args.seed, split="test")

    def measured(cut: HeadMask) -> float:
        return accuracy(model, tokenizer, task, problems, cut).value

    rows = {}
    print("| sparsity | " + " | ".join(f"{s:g}" for s in cuts) + " |")
    print("|---" * (len(cuts) + 1) + "|")
    for name, cut in contenders(masks, args.draws).items():
        found = [[measured(mask) for mask in cut(s)] for s in cuts]
        rows[name] = [float(np.mean(values)) for values in found]
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in rows[name]) + " |", flush=True)
    for one, other in itertools.combinations(masks, 2):
        print(agreement(one, other))
    if args.json:
        args.json.write_text(json.dumps({"sparsities": cuts, **rows}) + "\n")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mask", required=True, nargs="+", help="masks to measure")
    parser.add_argument("--model", default="tracer", help="model to run")
    parser.add_argument("--dtype", default="auto", help="number format of its weights")
    parser.add_argument("--task", default="tracing", help="task to draw problems from")
    parser.add_argument("--n", type=int, default=200, help="problems a cell")
    parser.add_argument("--seed", type=int, default=1, help="seed of the problems")
    parser.add_argument("--draws", type=int, default=5, help="random masks a column")
    parser.add_argument(
        "--sparsities", default="0,0.25,0.4,0.5,0.6,0.7,0.75,0.85,1", help="cuts, by commas"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser.parse_args()


def contenders(masks: list[HeadMask], draws: int) -> dict[str, Cut]:
    """For each row of the table its masks at a sparsity, with the window of the first mask."""
    first = masks[0]
    window = {"sink": first.sink, "recent": first.recent}
    depth = np.linspace(0, 1, first.shape[0], dtype=np.float32)  # scores are in [0, 1]
    layer = np.repeat(depth[:, None], first.shape[1], 1)

    def ranked(scores: np.ndarray) -> Cut:
        return lambda s: [HeadMask.from_scores(scores, sparsity=s, **window)]

    def learned(mask: HeadMask) -> Cut:
        return lambda s: [mask.at_sparsity(s)]

    def random(s: float) -> list[HeadMask]:
        return [HeadMask.random(*first.shape, sparsity=s, seed=i, **window) for i in range(draws)]

    return {
        **{mask.name or f"learned {i}": learned(mask) for i, mask in enumerate(masks)},
        f"random, mean of {draws}": random,
        "lowest-ranked kept instead": lambda s: [first.at_sparsity(s).inverse()],
        "first layers kept": ranked(1 - layer),
        "last layers kept": ranked(layer),
    }


def agreement(one: HeadMask, other: HeadMask) -> str:
    """Rank correlation of the learned gates, and kept heads in common at 50 %."""
    gates = [np.asarray(m.info.get("gates", m.scores)).flatten() for m in (one, other)]
    ranks = [ranks_of(values) for values in gates]
    spearman = np.corrcoef(ranks[0], ranks[1])[0, 1]
    kept = [m.at_sparsity(0.5).kept for m in (one, other)]
    both, each = int((kept[0] & kept[1]).sum()), int(kept[0].sum())
    return f"{one.name} / {other.name}: Spearman {spearman:.2f}, {both} of {each} heads in common"


def ranks_of(values: np.ndarray) -> np.ndarray:
    """Ranks, the mean of their places for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    places: np.ndarray = ((last - counts + last - 1) / 2)[inverse]
    return places


if __name__ == "__main__":
    main()
