"""`heads`: what every head of a model does, as a table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlkv.commands.common import (
    Result,
    add,
    loaded,
    mask_option,
    model_options,
    path,
    require_folder,
    say_for,
)
from rlkv.errors import UserError
from rlkv.files import write_whole

if TYPE_CHECKING:
    from rlkv.explore.table import HeadTable, Row
    from rlkv.masks import HeadMask

COLUMNS = {
    "gate": "gate",
    "far": "far",
    "induction": "induct.",
    "retrieval": "retriev.",
    "reward_gradient": "gradient",
    "sink": "sink",
    "recent": "recent",
}
"""Numbers that can be sorted by, and how the table is headed."""


def add_parser(commands: Any) -> None:
    parser = add(commands, "heads", heads, "measure what every head of a model does")
    model_options(parser)
    parser.add_argument("--mask", help="folder, .zip, .tsv or Hub repo; adds gates and kept heads")
    parser.add_argument("--sparsity", type=float, help="cut; default: the mask's own")
    parser.add_argument("--task", help="task to read answers of (default: the mask's, or tracing)")
    parser.add_argument("--n", type=int, default=16, help="answers to read (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the problems (default: 0)")
    parser.add_argument(
        "--sort", choices=[*COLUMNS, "layer"], default="far", help="order (default: far)"
    )
    parser.add_argument("--top", type=int, default=20, help="heads to print, 0 all (default: 20)")
    parser.add_argument("--csv", type=path, metavar="FILE", help="write all heads to this file")
    parser.add_argument(
        "--record",
        type=path,
        metavar="FILE",
        help="write all that was measured as JSON; as heads.json beside a shipped mask, the app "
        "shows it",
    )
    parser.add_argument(
        "--mask-out",
        type=path,
        metavar="FOLDER",
        help="write a mask that keeps the best by --sort",
    )


def heads(options: argparse.Namespace) -> Result:
    """Measures all heads on the model's own answers."""
    _check(options)
    mask = mask_option(options)
    table, info = _measured(options, mask)
    rows = _sorted(table.to_rows(mask), options.sort)
    say = say_for(options)
    for line in _lines(table, rows[: options.top or None]):
        say(line)
    if options.csv is not None:
        say(f"Written to {table.write_csv(options.csv, mask)}")
    if options.record is not None:
        write_record(table, options.record)
        say(f"Written to {options.record}")
    if options.mask_out is not None:
        sparsity = 0.5 if options.sparsity is None else options.sparsity
        ranked = table.to_mask(options.sort, sparsity=sparsity, info=info)
        say(f"Written to {ranked.save(options.mask_out)}")
    return {
        "model": options.model,
        "task": table.task,
        "seed": table.seed,
        "n": table.n,
        "right": table.right,
        "sink": table.sink_tokens,
        "recent": table.recent_tokens,
        "heads": rows,
    }


def write_record(table: HeadTable, path: Path) -> None:
    """Writes all that was measured.

    Raises:
        UserError: if it can't be written.
    """
    try:
        write_whole(path, json.dumps(table.to_record()) + "\n")
    except OSError as error:
        raise UserError(f"'{path}' can't be written: {error.strerror}.") from error


def _check(options: argparse.Namespace) -> None:
    """Mistakes that can be named before anything is loaded."""
    from rlkv.cuts import require_sparsity

    if options.n < 1:
        raise UserError("--n must be at least 1.")
    if options.top < 0:
        raise UserError("--top must be 0 (all heads) or more.")
    if options.sparsity is not None and options.mask is None and options.mask_out is None:
        raise UserError("--sparsity has nothing to cut: add --mask or --mask-out.")
    if options.sparsity is not None:
        require_sparsity(options.sparsity)
    if options.sort == "gate" and options.mask is None:
        raise UserError("Heads can be sorted by gate only with a mask: add --mask.")
    if options.mask_out is not None and options.sort in ("gate", "layer"):
        raise UserError("A mask is written of what was measured: choose another --sort, say far.")
    if options.mask_out is not None:
        require_folder(options.mask_out)
    for file in filter(None, (options.csv, options.record)):
        require_folder(file.parent)


def _measured(options: argparse.Namespace, mask: HeadMask | None) -> tuple[HeadTable, Result]:
    """The table, and what a mask made of it has to know of the model."""
    from rlkv.explore.table import head_table
    from rlkv.masks import DEFAULT_RECENT, DEFAULT_SINK
    from rlkv.models import model_spec, read_spec
    from rlkv.streaming import StreamingWindow

    window = StreamingWindow(DEFAULT_SINK, DEFAULT_RECENT)
    if mask is not None:
        spec = read_spec(options.model)
        mask.require_shape(spec.layers, spec.kv_heads, options.model)
        window = StreamingWindow(mask.sink, mask.recent)
    task = options.task or _task_of(mask) or "tracing"
    model, tokenizer = loaded(options)
    say = say_for(options)
    table = head_table(
        model, tokenizer, task, window, options.n, options.seed, say=lambda text: say(f"{text} ...")
    )
    spec = model_spec(model)
    return table, {
        "head_dim": spec.head_dim,
        "itemsize": spec.itemsize,
        "query_heads": spec.query_heads,
        "layer_ids": list(spec.layout.gated),
    }


def _task_of(mask: HeadMask | None) -> str:
    """The task that a mask was learned on, if it says so."""
    task = None if mask is None else mask.info.get("task")
    return task if isinstance(task, str) else ""


def _sorted(rows: list[Row], by: str) -> list[Row]:
    if by == "layer":
        return rows
    # A gate's rank is not the order of the gates where a mask was ranked by elimination.
    return sorted(rows, key=lambda row: -float(row[by] or 0.0))


def _lines(table: HeadTable, rows: list[Row]) -> list[str]:
    """The table for people, with each number's rank behind it."""
    found = [
        f"{table.n} answers to {table.task}; far is beyond {table.sink_tokens} sinks and the "
        f"latest {table.recent_tokens} tokens. Behind each number its rank.",
        *([table.note] if table.note else []),
        "head    kept" + "".join(f"{title:>13}" for title in COLUMNS.values()),
    ]
    for row in rows:
        kept = {None: "", True: "#", False: "."}[row["kept"]]  # type: ignore[index]
        cells = "".join(_cell(row[key], row[f"{key}_rank"]) for key in COLUMNS)
        found.append(f"{row['layer']}.{row['head']}".ljust(8) + f"{kept:>4}{cells}")
    return found


def _cell(value: float | bool | None, rank: float | bool | None) -> str:
    return " " * 13 if value is None else f"{value:8.3g} {rank:<4}"
