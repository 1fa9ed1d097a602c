"""`eval`: accuracy of a mask against the full cache."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rlkv.commands.common import Result, add, loaded, mask_option, model_options, say_for
from rlkv.errors import UserError

if TYPE_CHECKING:
    from rlkv.evaluation.accuracy import Accuracy
    from rlkv.masks import HeadMask


def add_parser(commands: Any) -> None:
    parser = add(commands, "eval", evaluate, "measure a mask's accuracy against the full cache")
    model_options(parser)
    parser.add_argument("--task", default="tracing", help="task to draw problems from")
    parser.add_argument("--mask", help="folder, .zip, .tsv or Hub repo; none: full cache only")
    parser.add_argument("--sparsity", type=float, help="cut; default: the mask's own")
    parser.add_argument("--random", type=int, metavar="SEED", help="a random mask instead")
    parser.add_argument("--inverse", action="store_true", help="keep the lowest-ranked heads")
    parser.add_argument("--n", type=int, default=200, help="problems (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the problems (default: 1)")


def evaluate(options: argparse.Namespace) -> Result:
    """Greedy accuracy on unseen problems, full cache and mask on the same ones."""
    from rlkv.evaluation.accuracy import accuracy
    from rlkv.masks import HeadMask
    from rlkv.models import model_spec
    from rlkv.tasks import get_task

    if options.n < 1:
        raise UserError("--n must be at least 1.")
    _require_something_to_cut(options)
    task = get_task(options.task)
    given = mask_option(options)
    model, tokenizer = loaded(options)
    shape = model_spec(model).layers, model_spec(model).kv_heads
    mask = _chosen(options, given, shape)
    if mask is not None:
        mask.require_shape(*shape, options.model)
    problems = task.problems(options.n, seed=options.seed, split="test")
    base = accuracy(model, tokenizer, task, problems, HeadMask.full(*shape))
    result: Result = {
        "model": options.model,
        "task": options.task,
        "n": len(problems),
        "seed": options.seed,
        "accuracy_full": base.value,
        "kv_bytes_full": base.kv_bytes,
        "mean_tokens_full": base.mean_tokens,
    }
    say = say_for(options)
    say(f"full cache: {base.value:.1%} of {len(problems)} right, {base.kv_bytes:,} KV bytes a row")
    if mask is not None:
        got = accuracy(model, tokenizer, task, problems, mask)
        result |= _under(mask, got)
        say(
            f"mask at sparsity {mask.sparsity:.2f}: {got.value:.1%} right, "
            f"{got.kv_bytes:,} KV bytes a row"
        )
    return result


def _require_something_to_cut(options: argparse.Namespace) -> None:
    if options.mask is not None or options.random is not None:
        return
    given = {"--sparsity": options.sparsity is not None, "--inverse": options.inverse}
    if names := [name for name, is_given in given.items() if is_given]:
        raise UserError(f"{' and '.join(names)} cut a mask: give one by --mask or --random.")


def _chosen(
    options: argparse.Namespace, mask: HeadMask | None, shape: tuple[int, int]
) -> HeadMask | None:
    """The mask to measure: the given one, a random one with its window, or its opposite."""
    from rlkv.masks import HeadMask

    if options.random is not None:
        window = {"sink": mask.sink, "recent": mask.recent} if mask else {}
        sparsity = 0.5 if options.sparsity is None else options.sparsity
        mask = HeadMask.random(*shape, sparsity=sparsity, seed=options.random, **window)
    return mask.inverse() if mask is not None and options.inverse else mask


def _under(mask: HeadMask, got: Accuracy) -> Result:
    return {
        "accuracy": got.value,
        "kv_bytes": got.kv_bytes,
        "mean_tokens": got.mean_tokens,
        "sparsity": mask.sparsity,
        "kept": mask.n_kept,
    }
