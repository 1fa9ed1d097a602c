"""`bench`: memory and speed of full, split and transformers' caches."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rlkv.commands.common import Result, add, say_for
from rlkv.errors import UserError

if TYPE_CHECKING:
    import torch

    from rlkv.benchmark.plan import Plan
    from rlkv.benchmark.rows import Row
    from rlkv.masks import HeadMask

OPTIONS = (
    "model", "mask", "sparsity", "contexts", "batch", "dtype", "device", "new_tokens", "others",
    "decode_only", "out",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    parser = add(commands, "bench", run_bench, "measure KV bytes, peak memory and speed")
    parser.add_argument("--model", default="random:llama-135m", help="see `train`")
    parser.add_argument("--mask", help="folder, .zip, .tsv or Hub repo; none: a random mask")
    parser.add_argument(
        "--sparsity", help="cuts, by commas (default: the mask's own; 0.5 without a mask)"
    )
    parser.add_argument("--contexts", default="1024,4096", help="prompt lengths, by commas")
    parser.add_argument("--batch", default="1", help="rows of the batch, by commas (default: 1)")
    parser.add_argument(
        "--dtype", help="float32, bfloat16, float16, by commas (default: the device's)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the fastest here)")
    parser.add_argument("--new-tokens", type=int, default=32, help="decoded tokens a row")
    parser.add_argument(
        "--others",
        choices=("all", "none"),
        default="all",
        help="transformers' static, quantised and offloaded caches too (default: all)",
    )
    parser.add_argument(
        "--decode-only",
        action="store_true",
        help="fill the caches with random numbers instead of reading a prompt: far quicker",
    )
    parser.add_argument("--out", help="folder to write bench.json and bench.html to")


def run_bench(options: argparse.Namespace) -> Result:
    """One row per context, sparsity, batch and dtype, written even if not all are reached."""
    from rlkv.benchmark.plan import make_folder, read_plan
    from rlkv.benchmark.report import write_json, write_page
    from rlkv.benchmark.tables import tables
    from rlkv.masks import HeadMask

    plan = read_plan(options.contexts, options.batch, options.sparsity, options.dtype)
    folder = make_folder(options.out) if options.out else None
    mask = None if options.mask is None else HeadMask.load(options.mask)
    say = say_for(options)
    result: Result = {"command": command_line(options)}
    rows: list[Row] = []
    try:
        for row in _rows(options, plan, mask, say, result):
            rows.append(row)
            result["rows"] = [asdict(each) for each in rows]
            if folder:  # at every row: a run may be ended in ways that leave no time to write
                write_json(folder, result)
    except (KeyboardInterrupt, UserError) as error:
        if not rows:
            raise
        _stopped_by(error, result, len(rows), plan.rows)
    say("\n" + tables(rows))
    if folder:
        write_json(folder, {name: value for name, value in result.items() if name != "exit_code"})
        written = write_page(folder, rows, _facts(result))
        say(f"\ncharts: {written}")
    return result


def _rows(
    options: argparse.Namespace,
    plan: Plan,
    mask: HeadMask | None,
    say: Callable[[str], None],
    result: Result,
) -> Iterator[Row]:
    """The rows of all dtypes; one model is loaded at a time."""
    begun = 0

    def progress(text: str) -> None:
        nonlocal begun
        begun += 1
        say(f"{text} ({begun} of {plan.rows})")

    for dtype in plan.dtypes:
        yield from _rows_of(options, plan, dtype, mask, progress, say, result)


def _rows_of(
    options: argparse.Namespace,
    plan: Plan,
    dtype: torch.dtype | None,
    mask: HeadMask | None,
    progress: Callable[[str], None],
    note: Callable[[str], None],
    result: Result,
) -> Iterator[Row]:
    from rlkv.benchmark.bench import bench
    from rlkv.benchmark.machine import machine
    from rlkv.models import load_model, model_spec

    model, _ = load_model(options.model, device=options.device, dtype=dtype)
    masks = plan.masks(mask, model_spec(model))
    name = str(model.dtype).removeprefix("torch.")
    result |= {
        "model": options.model,
        "device": str(model.device),
        "dtype": f"{result['dtype']},{name}" if "dtype" in result else name,
        "sink": masks[0].sink,
        "recent": masks[0].recent,
        "machine": machine(model.device),
    }
    yield from bench(
        model,
        masks,
        contexts=plan.contexts,
        batches=plan.batches,
        new_tokens=options.new_tokens,
        with_others=options.others == "all",
        reads=not options.decode_only,
        progress=progress,
        note=note,
    )


def command_line(options: argparse.Namespace) -> str:
    """The command that measures the same again."""
    words = ["python", "-m", "rlkv", "bench"]
    for name in OPTIONS:
        value = getattr(options, name)
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _stopped_by(error: BaseException, result: Result, done: int, of: int) -> None:
    """What ended the run too early: told, and part of the result."""
    mistake = isinstance(error, UserError)
    result["stopped"] = f"{error if mistake else 'interrupted'}; {done} of {of} rows were measured"
    result["exit_code"] = 2 if mistake else 130
    print(f"stopped: {result['stopped']}", file=sys.stderr)


def _facts(result: Result) -> dict[str, object]:
    """What the page tells about the run."""
    machine = dict(result["machine"])
    facts: dict[str, object] = {
        "model": result["model"],
        "device": f"{result['device']}: {machine.pop('device')}",
        "window": f"{result['sink']} sink and {result['recent']} recent tokens",
        "command": result["command"],
    }
    if "stopped" in result:
        facts["stopped"] = result["stopped"]
    return facts | machine
