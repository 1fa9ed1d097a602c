"""Contenders that take turns, so that whatever else the machine does hits them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import torch
from transformers import PreTrainedModel

from rlkv.attention import NewTokens
from rlkv.benchmark.contenders import Contender
from rlkv.captured import CapturedDecode
from rlkv.feeding import feed
from rlkv.generation import PREFILL_CHUNK
from rlkv.grouped import ScoreRule
from rlkv.layout import layout_of


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Run:
    """One contender's cache on the way through a text, and the seconds that it took."""

    def __init__(
        self, model: PreTrainedModel, contender: Contender, capacity: int, reads: bool = True
    ) -> None:
        self.model = model
        self.contender = contender
        self.reads = reads
        """Whether the model reads the prompt, or its cache is filled with random numbers."""
        self.cache = contender.make(capacity)
        self.captured: CapturedDecode | None = None
        self.chunk_s: list[float] = []
        self.token_s: list[float] = []

    def fill(self, ids: torch.Tensor, new_tokens: int) -> None:
        """Without waiting for others: feeds `[batch, tokens]`, then decodes some."""
        for chunk in torch.split(ids, PREFILL_CHUNK, dim=1):
            self.prefill(chunk)
        for _ in range(new_tokens):
            self.decode(ids[:, :1])

    def prefill(self, chunk: torch.Tensor) -> None:
        if self.reads:
            self.chunk_s.append(self._step(chunk))
        else:
            fill_randomly(self.cache, self.model, *chunk.shape)

    def decode(self, token: torch.Tensor, **inputs: torch.Tensor) -> None:
        self.token_s.append(self._step(token, **inputs))

    def _step(self, ids: torch.Tensor, **inputs: torch.Tensor) -> float:
        """Feeds `[batch, tokens]`; seconds."""
        # The model reads the name at every call; the switch is no part of the time.
        self.model.config._attn_implementation = self.contender.attention
        if self.contender.graph is not None and ids.shape[1] == 1 and self.captured is None:
            self.captured = CapturedDecode(self.model, self.cache, self.contender.graph)
        begun = time.perf_counter()
        if self.captured is not None and ids.shape[1] == 1:
            self.captured.step(ids)
        else:
            feed(self.model, self.cache, input_ids=ids, logits_to_keep=1, **inputs)
        synchronise(ids.device)
        return time.perf_counter() - begun

    @property
    def nbytes(self) -> int:
        return self.contender.nbytes(self.cache)

    def prefill_speed(self, tokens: int) -> float | None:
        """Tokens/s, for `tokens` over the whole batch; None if the model read none."""
        return tokens / sum(self.chunk_s) if self.chunk_s else None

    def decode_speed(self, batch: int) -> float:
        """Tokens/s of the whole batch, by the median step."""
        return batch / statistics.median(self.token_s)


def fill_randomly(cache: Any, model: PreTrainedModel, batch: int, tokens: int) -> None:
    """Random keys and values in place of a prompt's: decoding takes as long after them."""
    for index, layer in enumerate(layout_of(model).layers):
        shape = (batch, layer.kv_heads, tokens, layer.head_dim)
        key, value, query = torch.randn(3, *shape, dtype=model.dtype, device=model.device).unbind()
        handed, _ = cache.update(key, value, index)
        if isinstance(handed, NewTokens):  # ours stores while it attends
            handed.layer.attend(query.unsqueeze(2), handed, None, ScoreRule())


class Race:
    """Runs that advance together, in a new random order at every turn.

    A fixed order would give each run the same predecessor, and with it always the same state of
    the processor's caches. `drop` is told of a contender that failed and may be left out.
    """

    def __init__(self, runs: list[Run], drop: Callable[[Contender, Exception], None]) -> None:
        self.runs = runs
        self._drop = drop
        self._random = Random(0)

    def prefill(self, ids: torch.Tensor) -> None:
        """Feeds `[batch, tokens]`, chunk by chunk in turns."""
        for chunk in torch.split(ids, PREFILL_CHUNK, dim=1):
            self.turn(partial(Run.prefill, chunk=chunk))

    def decode(self, token: torch.Tensor, count: int) -> None:
        """Feeds the same `[batch, 1]` `count` times, token by token in turns."""
        for _ in range(count):
            self.turn(partial(Run.decode, token=token))

    def turn(self, step: Callable[[Run], None]) -> None:
        for run in self._random.sample(self.runs, len(self.runs)):
            try:
                step(run)
            except Exception as error:
                if not run.contender.optional:
                    raise
                self.runs.remove(run)
                self._drop(run.contender, error)
