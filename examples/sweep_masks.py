"""Accuracy against sparsity: the learned mask, random masks and the opposite ranking.

    python examples/sweep_masks.py --mask examples/masks/tracer

Prints a Markdown table; every cell is the share of the same unseen problems answered right.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import load_model, model_spec
from rlkv.tasks import get_task


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mask", required=True, help="mask to measure")
    parser.add_argument("--model", default="tracer", help="model to run")
    parser.add_argument("--task", default="tracing", help="task to draw problems from")
    parser.add_argument("--n", type=int, default=200, help="problems a cell")
    parser.add_argument("--seed", type=int, default=1, help="seed of the problems")
    parser.add_argument("--draws", type=int, default=5, help="random masks a column")
    parser.add_argument(
        "--sparsities", default="0,0.25,0.4,0.5,0.6,0.7,0.75,0.85,1", help="cuts, by commas"
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    cuts = [float(s) for s in args.sparsities.split(",")]
    mask = HeadMask.load(args.mask)
    model, tokenizer = load_model(args.model)
    spec = model_spec(model)
    task = get_task(args.task)
    problems = task.problems(args.n, seed=args.seed, split="test")

    def measured(cut: HeadMask) -> float:
        return accuracy(model, tokenizer, task, problems, cut).value

    window = {"sink": mask.sink, "recent": mask.recent}
    rows: dict[str, list[float]] = {"learned": [], "random": [], "inverse": []}
    for s in cuts:
        drawn = [
            HeadMask.random(spec.layers, spec.kv_heads, sparsity=s, seed=i, **window)
            for i in range(args.draws)
        ]
        rows["learned"].append(measured(mask.at_sparsity(s)))
        rows["random"].append(sum(map(measured, drawn)) / len(drawn))
        rows["inverse"].append(measured(mask.at_sparsity(s).inverse()))
    print("| sparsity | " + " | ".join(f"{s:g}" for s in cuts) + " |")
    print("|---" * (len(cuts) + 1) + "|")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |")
    if args.json:
        args.json.write_text(json.dumps({"sparsities": cuts, **rows}) + "\n")


if __name__ == "__main__":
    main()
