"""When memory runs out in spite of the plan: half the rows at once, of the loss and of what is
drawn, from the last checkpoint.

One process tries again by itself. Of several, none can leave a step while the others wait in it:
all end, the rows that were too many are written down beside the checkpoints, and the launcher
starts all again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from rlkv.errors import UserError
from rlkv.files import write_whole
from rlkv.headroom import gigabytes
from rlkv.masks import HeadMask
from rlkv.out_of_memory import free_memory, is_out_of_memory
from rlkv.training import checkpoint, ranks
from rlkv.training.config import TrainConfig
from rlkv.training.launching import AGAIN, RESTARTS
from rlkv.training.memory import available, planned
from rlkv.training.observer import Observer
from rlkv.training.rows import Rows, keep_rows, kept_rows, rows_here, rows_in
from rlkv.training.run import train

RETRIES = 3
TOO_MANY = "out-of-memory.json"

Train = Callable[[TrainConfig, Path, Observer], HeadMask]


def train_as_planned(
    config: TrainConfig, folder: Path, observer: Observer, samples: Path | None = None
) -> HeadMask:
    """`train` on all processes of the job, with as many rows at once as memory has room for.

    Raises:
        UserError: if it can't fit, and as `train_within_memory`.
    """
    config, plan = planned(config, most=kept_rows(folder))
    keep_rows(folder, rows_in(config))
    observer.event(plan.sentence())
    if too_many := rows_too_many(folder):
        config = _start_with_fewer(config, folder, too_many, observer)
    ranks.lead(config, folder)
    return train_within_memory(config, folder, observer, partial(train, samples=samples))


def train_within_memory(
    config: TrainConfig, folder: Path, observer: Observer, run: Train = train
) -> HeadMask:
    """`train`, which on running out of memory halves the rows at once and goes on.

    Raises:
        UserError: if memory runs out with one row or after `RETRIES`, or on several processes
            that nobody starts again.
        SystemExit: with `AGAIN` on several processes, if the launcher is to start them again.
    """
    tried = rows_too_many(folder)
    while True:
        try:
            return run(config, folder, observer)
        except Exception as error:
            ours = is_out_of_memory(error)
            if not ours and rows_too_many(folder) == tried:
                raise
        # Past the except clause: the error's frames hold the tensors that are to be freed.
        free_memory()
        tried = [*tried, rows_in(config)]
        fewer = _fewer(tried, config)
        if ranks.world() > 1:
            _end_for_another_start(folder, tried)
        config = _with_rows(config, fewer, tried[-1], observer, folder)


def rows_too_many(folder: Path) -> list[Rows]:
    """Rows at once with which memory ran out so far, on any of several processes."""
    path = folder / TOO_MANY
    return [Rows(**one) for one in json.loads(path.read_text())] if path.is_file() else []


def _end_for_another_start(folder: Path, tried: list[Rows]) -> None:
    """Ends this rank; the launcher starts all again, which then know of the rows tried."""
    # Several ranks may write the same.
    write_whole(folder / TOO_MANY, json.dumps([asdict(rows) for rows in tried]))
    raise SystemExit(AGAIN)


def _start_with_fewer(
    config: TrainConfig, folder: Path, too_many: list[Rows], observer: Observer
) -> TrainConfig:
    rows = too_many[-1].halved(rows_here(config)).at_most(rows_in(config))
    return _with_rows(config, rows, too_many[-1], observer, folder)


def _with_rows(
    config: TrainConfig, rows: Rows, too_many: Rows, observer: Observer, folder: Path
) -> TrainConfig:
    done = checkpoint.latest(folder)
    step = done[1] if done else 0
    observer.event(
        f"Out of memory with {too_many} rows at once: going on with {rows} from step {step}"
    )
    observer.resumed(step)
    return rows.set_in(config)


def _fewer(tried: list[Rows], config: TrainConfig) -> Rows:
    """Half of the last rows, as `Rows.halved`.

    Raises:
        UserError: if there is nothing left to try, or nobody to start several processes again.
    """
    rows = tried[-1]
    possible = ranks.world() == 1 or RESTARTS in os.environ
    if possible and rows != Rows(1, 1) and len(tried) <= RETRIES:
        return rows.halved(rows_here(config))
    device = "cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu"
    numbers = ", ".join(str(rows) for rows in tried)
    raise UserError(
        f"Out of memory with {numbers} rows at once; {gigabytes(available(device))} is free: "
        "close other programs and press Resume, or start a new job with fewer Rows at once, a "
        "shorter answer or a smaller model."
    )
