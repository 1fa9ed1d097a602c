"""Time inside the attention function alone, apart from projections, MLP and vocabulary."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlkv.attention import NAME
from rlkv.benchmark.race import Race, Run, synchronise

TOKENS = 16


class Stopwatch:
    """Seconds spent so far."""

    def __init__(self) -> None:
        self.seconds = 0.0


@contextmanager
def attention_stopwatch(device: torch.device) -> Iterator[Stopwatch]:
    """While open, every call of our attention function is timed on its own.

    The device is waited for before and after each call, which slows the whole step down: for a
    pass of its own, not for one whose tokens/s are reported.
    """
    watch = Stopwatch()
    original = ALL_ATTENTION_FUNCTIONS[NAME]

    def timed(*args: Any, **kwargs: Any) -> Any:
        synchronise(device)
        begun = time.perf_counter()
        out = original(*args, **kwargs)
        synchronise(device)
        watch.seconds += time.perf_counter() - begun
        return out

    AttentionInterface.register(NAME, timed)
    try:
        yield watch
    finally:
        AttentionInterface.register(NAME, original)


def attention_seconds(race: Race, token: torch.Tensor, position: int) -> dict[str, float]:
    """Decodes `TOKENS` more in turns; by contender, seconds a token over all layers, median.

    Our function stores the new token as well as attending, so this is the cost of both. All
    contenders of `race` must use it. Every token is told to stand at `position`, so that the
    text may end where the model's positions do; the work is the same at any.
    """
    positions = torch.full_like(token, position)
    seconds: dict[str, list[float]] = {run.contender.name: [] for run in race.runs}

    def step(run: Run) -> None:
        before = watch.seconds
        run.decode(token, position_ids=positions)
        seconds[run.contender.name].append(watch.seconds - before)

    with attention_stopwatch(token.device) as watch:
        for _ in range(TOKENS):
            race.turn(step)
    return {name: statistics.median(each) for name, each in seconds.items()}
