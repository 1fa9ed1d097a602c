"""The caches that are compared: two of ours and those that transformers has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transformers import DynamicCache, PreTrainedModel, QuantizedCache, StaticCache
from transformers.utils import is_hqq_available, is_optimum_quanto_available

from rlkv.attention import NAME
from rlkv.benchmark.memory import held_bytes
from rlkv.cache import SplitHeadCache
from rlkv.masks import HeadMask


@dataclass(frozen=True)
class Contender:
    """One kind of cache, with the attention that reads it."""

    name: str
    attention: str
    """transformers' name of the attention function."""
    make: Callable[[int], Any]
    """An empty cache for at most so many tokens a row."""
    nbytes: Callable[[Any], int] = held_bytes
    graph: bool | None = None
    """Decodes with `CapturedDecode` and this argument; None is an ordinary pass."""
    optional: bool = False
    """May fail: it is then left out, and the others go on."""


def ours(model: PreTrainedModel, mask: HeadMask) -> list[Contender]:
    """`split` under the mask and `full` with every head kept: same class, same kernels."""
    masks = {"split": mask, "full": HeadMask.full(*mask.shape, sink=mask.sink, recent=mask.recent)}

    def make(kept: HeadMask, capacity: int) -> SplitHeadCache:
        return SplitHeadCache(model, kept)

    return [
        Contender(name, NAME, partial(make, kept), lambda cache: cache.nbytes)
        for name, kept in masks.items()
    ]


def captured(model: PreTrainedModel, mask: HeadMask) -> list[Contender]:
    """Ours with the step of a decoded token as one CUDA graph; none on other devices."""
    if model.device.type != "cuda":
        return []
    return [
        replace(each, name=f"{each.name}-graph", graph=True, optional=True)
        for each in ours(model, mask)
    ]


def stock_attention(model: PreTrainedModel) -> str:
    """Name of the fastest of transformers' own attention functions that needs no package."""
    return "sdpa" if model._supports_sdpa else "eager"


def stock(model: PreTrainedModel) -> Contender:
    """What a user of transformers gets without asking for anything."""
    return Contender(
        "stock", stock_attention(model), lambda capacity: DynamicCache(config=model.config)
    )


def others(model: PreTrainedModel) -> list[Contender]:
    """transformers' further caches, those whose packages are installed."""
    config = model.config
    makers: dict[str, Callable[[int], Any]] = {
        "static": lambda capacity: StaticCache(config=config, max_cache_len=capacity),
        "fp8": lambda capacity: QuantizedCache("fp8", config),
    }
    if is_optimum_quanto_available():
        makers["quanto-4bit"] = lambda capacity: QuantizedCache("quanto", config, nbits=4)
    if is_hqq_available():
        makers["hqq-4bit"] = lambda capacity: QuantizedCache("hqq", config, nbits=4)
    if model.device.type == "cuda":
        makers["offloaded"] = lambda capacity: DynamicCache(config=config, offloading=True)
    attention = stock_attention(model)
    return [Contender(name, attention, make, optional=True) for name, make in makers.items()]
