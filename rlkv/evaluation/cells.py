"""The points of an evaluation's curves: a method at a sparsity. Knows masks, no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.evaluation.config import TOP_SPARSITIES, EvalConfig
from rlkv.evaluation.cuts import own_heads, tied
from rlkv.evaluation.methods import METHODS
from rlkv.masks import HeadMask

FULL = "full"
"""Key of the cell with the full cache, which all others are compared with."""
KEPT = "kept"
"""Method of the points that measure a mask's own heads, not a cut of its scores."""


@dataclass(frozen=True)
class Ranking:
    """One ranking of all heads and the curve that it makes."""

    series: str
    title: str
    method: str
    scores: NDArray[np.float32]
    tied: tuple[float, ...] = ()
    """Sparsities at which it is not measured: its scores do not decide there."""
    tied_top: tuple[float, ...] = ()
    """The same where its top is compressed instead."""


@dataclass(frozen=True)
class Cell:
    """One point: all problems are answered under it."""

    key: str
    """Names it within the evaluation."""
    series: str
    """Which curve it belongs to; several random masks share one."""
    title: str
    """Of the curve."""
    method: str
    """Key of `METHODS`, "full", or "kept" for the heads of a mask as they are."""
    mask: HeadMask
    """What is kept; for methods that drop tokens: whose bytes they may use."""
    sparsity: float
    """As asked for: the share of KV heads compressed."""
    cache: str = "heads"
    """"heads" for a cache split by heads, else the method whose cache drops tokens."""
    top: bool = False
    """The top of the ranking is compressed instead of its bottom."""

    def info(self) -> dict[str, Any]:
        """What the table and the pages need to know of it, as plain values."""
        return {
            "series": self.series,
            "title": self.title,
            "method": self.method,
            "sparsity": self.sparsity,
            "kept": self.mask.n_kept,
            "heads": int(self.mask.kept.size),
            "sink": self.mask.sink,
            "recent": self.mask.recent,
            "cache": self.cache,
            "top": self.top,
            "mask": self.mask.to_link(),
        }


def cells(
    config: EvalConfig, shape: tuple[int, int], rankings: Mapping[str, NDArray[np.float32]]
) -> list[Cell]:
    """All points in the order in which they are measured: the full cache, then by sparsity.

    Token dropping comes last: it takes several times as long.

    Args:
        shape: (layers, kv_heads) of the model.
        rankings: scores `[layers, kv_heads]` by method, for those that are ranked on the model.
    """
    sink, recent = config.window
    full = HeadMask.full(*shape, sink=sink, recent=recent)
    found = [Cell(FULL, FULL, "Full cache", FULL, full, 0.0)]
    ranked = list(_ranked(config, rankings))
    for sparsity in config.sparsities:
        for one in ranked:
            if sparsity not in one.tied:
                mask = _cut(one.scores, sparsity, config)
                key = f"{one.series}@{sparsity:g}"
                found.append(Cell(key, one.series, one.title, one.method, mask, sparsity))
        found += _references(config, shape, sparsity)
    found += _own(config)
    if "streaming" in config.methods:
        title = METHODS["streaming"].title
        found.append(Cell("streaming", "streaming", title, "streaming", full.at_sparsity(1.0), 1.0))
    found += _tops(config, shape, ranked)
    for sparsity in config.sparsities:
        found += _droppers(config, full, sparsity)
    return found


def _ranked(config: EvalConfig, rankings: Mapping[str, NDArray[np.float32]]) -> Iterator[Ranking]:
    if "learned" in config.methods:
        names = _names(config)
        for number, entry in enumerate(config.masks):
            title = METHODS["learned"].title if len(config.masks) == 1 else names[number]
            yield Ranking(
                f"learned-{number}", title, "learned", entry.mask().scores,
                tied=tied(entry, config.sparsities),
                tied_top=tied(entry, TOP_SPARSITIES, worst_kept=True),
            )  # fmt: skip
    for key in config.methods:
        if key in rankings:
            yield Ranking(key, METHODS[key].title, key, rankings[key])


def _own(config: EvalConfig) -> Iterator[Cell]:
    """Masks whose heads no cut of their scores gives, exactly as they are."""
    if "learned" not in config.methods:
        return
    sink, recent = config.window
    names = _names(config)
    for number, entry in enumerate(config.masks):
        own = own_heads(entry, config.sparsities)
        if own is None:
            continue
        by_hand = "By hand" if len(config.masks) == 1 else f"{names[number]}, by hand"
        title = by_hand if own.by_hand else names[number]
        mask = replace(own.mask, sink=sink, recent=recent)
        series = f"{KEPT}-{number}"
        yield Cell(f"{series}@{own.sparsity:g}", series, title, KEPT, mask, own.sparsity)


def _names(config: EvalConfig) -> list[str]:
    """What each mask is called: of several with one name, numbered in the order of their choice."""
    names = [entry.name for entry in config.masks]
    counts = Counter(names)
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        if counts[name] > 1:
            names[place] = f"{name} ({seen[name]})"
    return names


def _references(config: EvalConfig, shape: tuple[int, int], sparsity: float) -> Iterator[Cell]:
    for seed, mask in _random(config, shape, sparsity):
        key = f"random-{seed}@{sparsity:g}"
        yield Cell(key, "random", METHODS["random"].title, "random", mask, sparsity)
    if _inverts(config, sparsity):
        mask = _cut(config.masks[0].mask().scores, sparsity, config).inverse()
        title = METHODS["inverse"].title
        yield Cell(f"inverse@{sparsity:g}", "inverse", title, "inverse", mask, sparsity)


def _random(
    config: EvalConfig, shape: tuple[int, int], sparsity: float
) -> Iterator[tuple[int, HeadMask]]:
    """The random masks at one sparsity by seed: the same rankings at every sparsity."""
    sink, recent = config.window
    for seed in range(config.random_seeds if "random" in config.methods else 0):
        mask = HeadMask.random(*shape, sparsity=sparsity, seed=seed, sink=sink, recent=recent)
        yield seed, mask


def _inverts(config: EvalConfig, sparsity: float) -> bool:
    """Whether the first mask is measured the wrong way round: only where its scores decide."""
    return "inverse" in config.methods and bool(
        config.masks and not tied(config.masks[0], [sparsity], worst_kept=True)
    )


def _droppers(config: EvalConfig, full: HeadMask, sparsity: float) -> Iterator[Cell]:
    budget = full.at_sparsity(sparsity)  # which heads does not matter, only how many
    for key in config.methods:
        method = METHODS[key]
        if method.family == "dropping":
            yield Cell(f"{key}@{sparsity:g}", key, method.title, key, budget, sparsity, key)


def _tops(config: EvalConfig, shape: tuple[int, int], ranked: Sequence[Ranking]) -> Iterator[Cell]:
    """The reasoning-heads experiment: what breaks first when the best heads are compressed.

    The top of random rankings says what losing so many heads costs whichever they are.
    """
    if not config.top:
        return
    for sparsity in TOP_SPARSITIES:
        for one in ranked:
            if sparsity not in one.tied_top:
                mask = _cut(one.scores, sparsity, config).inverse()
                series = f"{one.series}-top"
                key = f"{series}@{sparsity:g}"
                yield Cell(key, series, one.title, one.method, mask, sparsity, top=True)
        title = METHODS["random"].title
        for seed, mask in _random(config, shape, sparsity):
            key = f"random-{seed}-top@{sparsity:g}"
            yield Cell(key, "random-top", title, "random", mask.inverse(), sparsity, top=True)


def _cut(scores: NDArray[np.float32], sparsity: float, config: EvalConfig) -> HeadMask:
    sink, recent = config.window
    return HeadMask.from_scores(_within_one(scores), sparsity=sparsity, sink=sink, recent=recent)


def _within_one(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same ranking with values in [0, 1], as masks hold them."""
    low, high = float(scores.min()), float(scores.max())
    if low >= 0.0 and high <= 1.0:
        return scores
    return np.asarray((scores - low) / ((high - low) or 1.0), dtype=np.float32)


def how_many(config: EvalConfig) -> int:
    """Points that `cells` will list, known before any ranking is made."""
    first = config.masks[0] if config.masks else None
    shape = (first.layers, first.kv_heads) if first else (1, 1)
    to_come = np.zeros(shape, np.float32)  # only how many rankings there will be counts
    rankings = {key: to_come for key in config.methods if METHODS[key].ranks_the_model}
    return len(cells(config, shape, rankings))
