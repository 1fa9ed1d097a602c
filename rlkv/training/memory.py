"""Memory planned before a training starts: what it needs, what is free, how many rows fit.

The need is computed from the model's shape alone, without weights. Constants were fitted to peaks
measured with `rlkv.benchmark.memory` on the CPU (docs/cluster.md has the table); a GPU with its
leaner kernels stays below.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from transformers import PreTrainedConfig

from rlkv.errors import UserError
from rlkv.headroom import free_bytes, gigabytes
from rlkv.local_path import local_path
from rlkv.models import (
    EMBEDDED,
    checked_device,
    default_dtype,
    device_named,
    dtype_named,
    read_config,
)
from rlkv.training import ranks
from rlkv.training.config import TrainConfig
from rlkv.training.rows import Rows, divisors
from rlkv.weights import config_on_disk, count_parameters, loading_bytes

PROCESS_ON_CPU = 660_000_000
"""Python with torch, transformers and TRL loaded, and what torch takes at its first backward."""
PROCESS_ON_GPU = 900_000_000
"""CUDA's context and libraries."""
RESERVE = 0.05
"""Share of the free memory that is left alone: other programs move, and heaps have holes."""
PROMPT_TOKENS = {"tracing": 48}
"""Longest prompts of the tasks, chat template included; others are taken for `OTHER_PROMPT`."""
OTHER_PROMPT = 512
TEMPLATE_TOKENS = 40
"""What the chat templates of pretrained models add; that of the embedded model is counted in."""
TILE_TOKENS, TILE_WORDS = 4096, 32768
"""TRL computes log-probabilities in tiles of so many tokens and words of the vocabulary."""
TILE_COPIES = 12
"""float32 copies of a tile that are alive at once, without Triton."""


@dataclass(frozen=True)
class Shape:
    """What of a model decides how much memory its training takes."""

    parameters: int
    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward layer, times the experts that a token visits."""
    query: int
    """Query heads times head size."""
    cached: int
    """Numbers cached per token over all layers."""
    vocabulary: int


@dataclass(frozen=True)
class Need:
    """Bytes that one process needs at its worst moment, by part."""

    process: int
    weights: int
    rollout: int
    """KV cache and scores while answers are drawn."""
    activations: int
    """Kept for the gradient of the gates, which passes through all frozen layers."""
    logits: int
    """Tiles of log-probabilities, in float32."""
    loading: int
    """Beyond the weights while they are read; over before training begins."""

    @property
    def total(self) -> int:
        # Together, though the cache is gone when the loss begins: its holes in the heap stay.
        work = self.rollout + self.activations + self.logits
        return self.process + self.weights + max(self.loading, work)


@dataclass(frozen=True)
class Plan:
    """A training that fits."""

    rows: int
    """In one forward pass of one process, for the loss."""
    rollout_rows: int
    """In one batch of drawn answers."""
    need: int
    free: int
    where: str

    def sentence(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        more = "" if self.rollout_rows == self.rows else f", {self.rollout_rows} while drawing"
        return (
            f"Needs about {gigabytes(self.need)} of {gigabytes(self.free)} free {self.where}; "
            f"{rows} at once{more}."
        )


def estimate(config: TrainConfig, shape: Shape, rows: int, drawn: int | None = None) -> Need:
    """What one process needs with `rows` answers in one forward pass of the loss.

    `drawn`: answers drawn at once; as many if None.
    """
    drawn = rows if drawn is None else drawn
    device, dtype = _target(config)
    size = dtype.itemsize
    prompt = PROMPT_TOKENS.get(config.task, OTHER_PROMPT)
    if config.model != EMBEDDED and not config.model.startswith("random:"):
        prompt += TEMPLATE_TOKENS
    length = prompt + config.max_new_tokens
    tokens = rows * length
    # Kept per token and layer: two normalised inputs, gate, activation and product of the
    # feed-forward layer, and queries, keys, values and outputs of both attention branches. Below
    # the first gate nothing has a gradient, so one layer keeps only half.
    a_layer = 3 * shape.inner + 2 * shape.hidden + 8 * shape.query
    tile = min(tokens, TILE_TOKENS) * min(shape.vocabulary, TILE_WORDS)
    copies = TILE_COPIES if device == "cpu" else 2
    weights = shape.parameters * size
    return Need(
        process=PROCESS_ON_CPU if device == "cpu" else PROCESS_ON_GPU,
        weights=weights,
        rollout=drawn * (length * shape.cached * size * 2 + 6 * shape.vocabulary * 4),
        activations=math.ceil(tokens * (shape.layers - 0.5) * a_layer * size),
        logits=tile * 4 * copies,
        loading=loading_bytes(config.model, weights),
    )


def plan(
    config: TrainConfig,
    *,
    free: int | None = None,
    processes: int | None = None,
    most: Rows | None = None,
) -> Plan:
    """The most rows at once that fit, or those that were asked for.

    First those of the loss; what they leave goes to the drawing, which needs less for a row.

    Args:
        free: bytes for one process; what is free here if None.
        processes: that share this machine's memory; those of the settings if None.
        most: rows that are enough, though more would fit.

    Raises:
        UserError: if nothing fits, or not what was asked for, with what to change.
    """
    processes = processes or config.processes
    device, _ = _target(config)
    shape = read_shape(config.model)
    free = available(device, processes) if free is None else free
    where = "memory" if device == "cpu" else "GPU memory"
    choices = _choices(config, config.rows // processes, most)
    for rows in choices:
        need = estimate(config, shape, rows.loss, rows.drawn).total
        if need <= free:
            return Plan(rows.loss, rows.drawn, need, free, where)
    least = choices[-1]
    need = estimate(config, shape, least.loss, least.drawn).total
    advice = "fewer rows at once, " if max(least.loss, least.drawn) > 1 else ""
    raise UserError(
        f"Out of memory before it starts: {least} rows at once of {config.model} need about "
        f"{gigabytes(need)} and {gigabytes(free)} {where} is free for each process: choose "
        f"{advice}a shorter answer or a smaller model."
    )


def _choices(config: TrainConfig, batch: int, most: Rows | None) -> list[Rows]:
    """What may be tried, the best first; never fewer drawn than in the loss, unless asked for."""

    def possible(asked: int, limit: int) -> list[int]:
        if asked:
            return [min(asked, batch)]
        return [rows for rows in divisors(batch) if rows <= limit]

    enough = most or Rows(batch, batch)
    return [
        Rows(loss, drawn)
        for loss in possible(config.rows_at_once, enough.loss)
        for drawn in possible(config.rollout_rows, enough.drawn)
        if config.rollout_rows or drawn >= loss
    ]


def planned(config: TrainConfig, most: Rows | None = None) -> tuple[TrainConfig, Plan]:
    """The settings with the rows filled in, in the process that will do the work.

    `most`: what the job started with, if this is a resume.

    Raises:
        UserError: as `plan`.
    """
    device, _ = _target(config)
    free = available(device, max(config.processes, _ranks_here()), inside=True)
    result = plan(config, free=free, processes=ranks.world(), most=most)
    return Rows(result.rows, result.rollout_rows).set_in(config), result


def line(config: TrainConfig) -> str:
    """One sentence for the form; never raises a UserError, loads nothing, asks no network."""
    if config.where != "here":
        return "Runs as a Hugging Face Job, which looks at its own memory."
    if not config_on_disk(config.model):
        return "Memory: can't tell before the model is downloaded."
    try:
        return plan(config).sentence()
    except UserError as error:
        return str(error)


def refuse_what_cannot_fit(config: TrainConfig) -> None:
    """Raises UserError, as `plan`, if it is certain without the network that memory won't do.

    Where the model is not on disk, the job itself looks again, before it loads anything.
    """
    if config.where == "here" and config_on_disk(config.model):
        plan(config)


def available(device: str, processes: int = 1, *, inside: bool = False) -> int:
    """Bytes that one of `processes` on this machine may take; a small reserve is kept back.

    `inside`: asked by a process that will do the work, so what it holds already counts too.

    Raises:
        UserError: if there is no such device here.
    """
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(checked_device(device))
        return int(free * (1 - RESERVE)) + (PROCESS_ON_GPU if inside else 0)
    free = free_bytes(device)
    own = psutil.Process().memory_info().rss if inside else 0
    return max(int(free * (1 - RESERVE)), 0) // processes + own


def read_shape(ref: str) -> Shape:
    """A model's shape from its configuration, no weights.

    Raises:
        UserError: if there is no such model or it can't be served.
    """
    path = local_path(ref)
    return _read_shape(ref, path.stat().st_mtime_ns if path else 0)


@functools.lru_cache(maxsize=32)
def _read_shape(ref: str, changed: int) -> Shape:
    config, layout = read_config(ref)
    decoder = config.get_text_config(decoder=True)
    layers = layout.layers
    return Shape(
        parameters=count_parameters(config),
        layers=len(layers),
        hidden=decoder.hidden_size,
        inner=_inner_width(decoder),
        query=max(layer.kv_heads * layer.group * layer.head_dim for layer in layers),
        cached=sum(2 * layer.kv_heads * layer.head_dim for layer in layers),
        vocabulary=decoder.vocab_size,
    )


def _inner_width(decoder: PreTrainedConfig) -> int:
    """Feed-forward numbers of one token in one layer."""

    def first(*names: str) -> Any:
        return next((v for v in (getattr(decoder, n, None) for n in names) if v), None)

    width = first("intermediate_size", "ffn_dim", "n_inner") or 4 * decoder.hidden_size
    experts = first("num_experts_per_tok", "top_k_experts") or 0
    if not experts:
        return int(width)
    return max(int(width), int((first("moe_intermediate_size") or width) * experts))


def _target(config: TrainConfig) -> tuple[str, torch.dtype]:
    device = device_named(config.device)
    kind = "cpu" if device in ("cpu", "mps") else device
    dtype = default_dtype(kind) if config.dtype == "auto" else dtype_named(config.dtype)
    return kind, dtype


def _ranks_here() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
