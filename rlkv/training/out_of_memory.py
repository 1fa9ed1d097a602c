"""When memory runs out in spite of the plan: half the rows at once, from the last checkpoint."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.training import checkpoint, ranks
from rlkv.training.config import TrainConfig
from rlkv.training.memory import available, divisors, gigabytes, planned
from rlkv.training.observer import Observer
from rlkv.training.run import train

RETRIES = 3
_WORDS = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")
"""torch's CPU allocator and CUDA's libraries raise plain RuntimeErrors with these."""

Train = Callable[[TrainConfig, Path, Observer], HeadMask]


def train_as_planned(
    config: TrainConfig, folder: Path, observer: Observer, samples: Path | None = None
) -> HeadMask:
    """`train` on all processes of the job, with as many rows at once as memory has room for.

    Raises:
        UserError: if it can't fit, and as `train_within_memory`.
    """
    config, plan = planned(config)
    observer.event(plan.sentence())
    ranks.lead(config, folder)
    return train_within_memory(config, folder, observer, partial(train, samples=samples))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that memory ran out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (torch.OutOfMemoryError, MemoryError)):
            return True
        if isinstance(seen, RuntimeError) and any(word in str(seen).lower() for word in _WORDS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def train_within_memory(
    config: TrainConfig, folder: Path, observer: Observer, run: Train = train
) -> HeadMask:
    """`train`, which on running out of memory halves the rows at once and goes on.

    Several processes are not tried again: one cannot leave a step while the others wait in it.

    Raises:
        UserError: if memory runs out with one row, after `RETRIES`, or on several processes.
    """
    batch = config.rows // ranks.world()
    tried: list[int] = []
    while True:
        tried.append(min(config.rows_at_once or batch, batch))
        try:
            return run(config, folder, observer)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Past the except clause: the error's frames hold the tensors that are to be freed.
        free_memory()
        config = config.model_copy(update={"rows_at_once": _fewer(tried, batch, config)})
        done = checkpoint.latest(folder)
        observer.event(
            f"Out of memory with {tried[-1]} rows at once: going on with {config.rows_at_once} "
            f"from step {done[1] if done else 0}"
        )
        observer.resumed(done[1] if done else 0)


def free_memory() -> None:
    """Gives unused memory back, so that the next attempt finds it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _fewer(tried: list[int], batch: int, config: TrainConfig) -> int:
    """The most rows, at most half of the last ones, that share the batch evenly.

    Raises:
        UserError: if there is nothing left to try.
    """
    rows = tried[-1]
    if rows > 1 and len(tried) <= RETRIES and ranks.world() == 1:
        return next(fewer for fewer in divisors(batch) if fewer <= rows // 2)
    device = "cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu"
    numbers = ", ".join(str(rows) for rows in tried)
    raise UserError(
        f"Out of memory with {numbers} rows at once; {gigabytes(available(device))} is free: "
        "set Rows at once lower, choose a shorter answer or a smaller model, or close other "
        "programs, and press Resume."
    )
