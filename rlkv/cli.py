"""The command line: `python -m rlkv COMMAND`.

Every command prints for people, and with `--json` one JSON object as its last line. A user's
mistake is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_origin

from rlkv import __version__
from rlkv.errors import UserError

Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        result: Result = options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    code = int(result.pop("exit_code", 0))
    if options.json:
        print(json.dumps(result), flush=True)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rlkv",
        description="Find the attention heads a reasoning model needs, and run it with only those.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _train_parser(commands)
    _eval_parser(commands)
    _mask_parser(commands)
    _chat_parser(commands)
    _add(commands, "doctor", doctor, "check this machine and say what to do")
    return parser


def _add(
    commands: Any, name: str, run: Callable[[argparse.Namespace], Result], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.set_defaults(run=run)
    return parser


def _say(options: argparse.Namespace) -> Callable[[str], None]:
    """Progress goes to stderr when stdout is for a program."""
    return lambda text: print(text, file=sys.stderr if options.json else sys.stdout, flush=True)


# --- train --------------------------------------------------------------------------------


def _train_parser(commands: Any) -> None:
    """Its options are the fields of TrainConfig."""
    from rlkv.training.config import PRESETS, TrainConfig

    parser = _add(commands, "train", train, "learn the gates of a model and write the mask")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the mask to")
    parser.add_argument("--preset", default="quick", help=f"one of: {', '.join(PRESETS)}")
    for name, field in TrainConfig.model_fields.items():
        kind = {int: int, float: float}.get(field.annotation, str)  # type: ignore[arg-type]
        extra: dict[str, Any] = {"type": kind}
        if field.annotation is bool:
            extra = {"action": argparse.BooleanOptionalAction}
        elif get_origin(field.annotation) is Literal:
            extra = {"choices": field.annotation.__args__}  # type: ignore[union-attr]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=None,
            help=f"{field.description} (default: {field.default})",
            **extra,
        )


def train(options: argparse.Namespace) -> Result:
    """Runs a training in this process; it is a job like any other and shows in the app."""
    from rlkv.training.config import TrainConfig, make_config
    from rlkv.worker import run_here

    given = {
        name: getattr(options, name)
        for name in TrainConfig.model_fields
        if getattr(options, name) is not None
    }
    config = make_config(given, options.preset)
    say = _say(options)
    job, mask = run_here(config, say)
    if job.state == "failed":
        if job.exit_code == 2:
            raise UserError(job.message)
        return {"job": job.id, "state": job.state, "message": job.message, "exit_code": 1}
    say(job.message)
    if mask is None:
        return {"job": job.id, "state": job.state, "message": job.message}
    mask.save(options.out)
    say(f"Mask written to {options.out}")
    return {
        "job": job.id,
        "state": job.state,
        "mask": str(options.out),
        "steps": mask.info["steps_done"],
        **mask.info.get("metrics", {}),
    }


# --- eval ---------------------------------------------------------------------------------


def _eval_parser(commands: Any) -> None:
    parser = _add(commands, "eval", evaluate, "measure a mask's accuracy against the full cache")
    parser.add_argument("--model", default="tracer", help="see `train`")
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
    from rlkv.models import load_model, model_spec
    from rlkv.tasks import get_task

    if options.n < 1:
        raise UserError("--n must be at least 1.")
    task = get_task(options.task)
    mask = _mask_option(options)
    model, tokenizer = load_model(options.model)
    spec = model_spec(model)
    full = HeadMask.full(spec.layers, spec.kv_heads)
    if options.random is not None:
        window = {"sink": mask.sink, "recent": mask.recent} if mask else {}
        sparsity = 0.5 if options.sparsity is None else options.sparsity
        mask = HeadMask.random(
            spec.layers, spec.kv_heads, sparsity=sparsity, seed=options.random, **window
        )
    if mask is not None and options.inverse:
        mask = mask.inverse()
    problems = task.problems(options.n, seed=options.seed)
    base = accuracy(model, tokenizer, task, problems, full)
    result: Result = {
        "model": options.model,
        "task": options.task,
        "n": options.n,
        "seed": options.seed,
        "accuracy_full": base.value,
        "kv_bytes_full": base.kv_bytes,
        "mean_tokens_full": base.mean_tokens,
    }
    say = _say(options)
    say(f"full cache: {base.value:.1%} of {options.n} right, {base.kv_bytes:,} KV bytes a row")
    if mask is not None:
        mask.require_shape(spec.layers, spec.kv_heads, options.model)
        got = accuracy(model, tokenizer, task, problems, mask)
        result |= {
            "accuracy": got.value,
            "kv_bytes": got.kv_bytes,
            "mean_tokens": got.mean_tokens,
            "sparsity": mask.sparsity,
            "kept": mask.n_kept,
        }
        say(
            f"mask at sparsity {mask.sparsity:.2f}: {got.value:.1%} right, "
            f"{got.kv_bytes:,} KV bytes a row"
        )
    return result


def _mask_option(options: argparse.Namespace) -> Any:
    """The mask of `--mask` at the cut of `--sparsity`, or None."""
    from rlkv.masks import HeadMask

    if not options.mask:
        return None
    mask = HeadMask.load(options.mask)
    return mask if options.sparsity is None else mask.at_sparsity(options.sparsity)


# --- mask ---------------------------------------------------------------------------------


def _mask_parser(commands: Any) -> None:
    parser = commands.add_parser("mask", help="look at, convert and compare mask files")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    show = _add(verbs, "show", mask_show, "what a mask keeps")
    convert = _add(verbs, "convert", mask_convert, "write a mask in another form")
    diff = _add(verbs, "diff", mask_diff, "where two masks differ")
    for one in (show, convert):
        one.add_argument("mask", help="folder, .zip, .tsv, link text or Hub repo")
        one.add_argument("--sparsity", type=float, help="cut; default: the mask's own")
    convert.add_argument("out", type=Path, help="a folder, or a path ending in .zip or .tsv")
    diff.add_argument("first", help="a mask")
    diff.add_argument("second", help="another mask of the same shape")


def mask_show(options: argparse.Namespace) -> Result:
    """The mask as a table of # (kept) and . (compressed)."""
    mask = _mask_option(options)
    say = _say(options)
    say(f"{mask.name or options.mask}: {mask.layers} layers x {mask.kv_heads} KV heads")
    say(
        f"keeps {mask.n_kept}, sparsity {mask.sparsity:.2f}, sink {mask.sink}, recent {mask.recent}"
    )
    for layer, (kept, scores) in enumerate(zip(mask.kept, mask.scores, strict=True)):
        cells = "".join("#" if k else "." for k in kept)
        say(f"{layer:3d}  {cells}  " + " ".join(f"{score:.2f}" for score in scores))
    return {
        "name": mask.name,
        "model": mask.model,
        "layers": mask.layers,
        "kv_heads": mask.kv_heads,
        "kept": mask.n_kept,
        "sparsity": mask.sparsity,
        "sink": mask.sink,
        "recent": mask.recent,
        "link": mask.to_link(),
        "notes": mask.info.get("notes", []),
    }


def mask_convert(options: argparse.Namespace) -> Result:
    """Folder, zip or tsv, by the name of the target."""
    from rlkv.mask_files import TSV, contents

    mask = _mask_option(options)
    if options.out.suffix == ".zip":
        mask.save_zip(options.out)
    elif options.out.suffix == ".tsv":
        options.out.write_bytes(contents(mask)[TSV])
    else:
        mask.save(options.out)
    _say(options)(f"Written to {options.out}")
    return {"out": str(options.out)}


def mask_diff(options: argparse.Namespace) -> Result:
    """Heads kept by one mask only, and how the rankings agree."""
    from rlkv.masks import HeadMask

    first, second = HeadMask.load(options.first), HeadMask.load(options.second)
    second.require_shape(*first.shape, options.first)
    differ = [(int(a), int(b)) for a, b in zip(*(first.kept != second.kept).nonzero(), strict=True)]
    both = int((first.kept & second.kept).sum())
    correlation = first.rank_correlation(second)
    say = _say(options)
    say(f"kept by both: {both}, by one only: {len(differ)}, rank correlation: {correlation:.2f}")
    for layer, head in differ:
        say(f"{layer}.{head}  only {'first' if first.kept[layer, head] else 'second'}")
    return {"kept_by_both": both, "differ": differ, "rank_correlation": correlation}


# --- chat ---------------------------------------------------------------------------------


def _chat_parser(commands: Any) -> None:
    parser = _add(commands, "chat", chat, "answer one question with the full and the split cache")
    parser.add_argument("prompt", help='the question, e.g. "a=3; b=4; c:a+b; ?c"')
    parser.add_argument("--model", default="tracer", help="see `train`")
    parser.add_argument("--mask", help="folder, .zip, .tsv or Hub repo; none: full cache only")
    parser.add_argument("--sparsity", type=float, help="cut; default: the mask's own")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling")


def chat(options: argparse.Namespace) -> Result:
    """Both answers in lockstep, with the KV bytes that each really holds."""
    from rlkv.generation import Sampling, lockstep
    from rlkv.models import load_model

    mask = _mask_option(options)
    sampling = Sampling(
        max_new_tokens=options.max_new_tokens, temperature=options.temperature, seed=options.seed
    )
    model, tokenizer = load_model(options.model)
    masks = [None] if mask is None else [None, mask]
    *_, sides = lockstep(model, tokenizer, options.prompt, masks, sampling)
    result: Result = {}
    for name, side in zip(("full", "compressed"), sides, strict=False):
        _say(options)(
            f"--- {name}: {side.kv_bytes:,} KV bytes after {side.length} tokens, "
            f"{side.tokens_per_second:.0f} tokens/s\n{side.text}"
        )
        result[name] = asdict(side) | {"tokens_per_s": side.tokens_per_second}
    if mask is not None:
        result["kv_saved"] = 1 - sides[1].kv_bytes / sides[0].kv_bytes
    return result


# --- doctor -------------------------------------------------------------------------------


def doctor(options: argparse.Namespace) -> Result:
    """Exit code 1 if something has to be done."""
    from rlkv.doctor import examine

    checks = examine()
    say = _say(options)
    for check in checks:
        say(f"{'ok ' if check.ok else 'BAD'}  {check.name}: {check.detail}")
        if check.advice:
            say(f"     {check.advice}")
    bad = not all(check.ok for check in checks)
    return {"ok": not bad, "checks": [asdict(c) for c in checks], "exit_code": int(bad)}
