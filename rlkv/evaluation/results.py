"""What samples say: accuracy with its uncertainty, length, bytes and errors of every cell.

Intervals are percentile bootstraps over problems: all answers to one problem are drawn together,
and differences from the full cache are taken problem by problem before anything is drawn. A point
of several random masks draws masks as well: it is about random masks, not the few that were made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlkv.evaluation.cells import FULL
from rlkv.evaluation.samples import VERDICTS

RESAMPLES = 2000
CONFIDENCE = 0.95
Interval = tuple[float, float]
Numbers = NDArray[np.float64]


class MarkLike(Protocol):
    """One sample, its text aside."""

    @property
    def cell(self) -> str: ...
    @property
    def problem(self) -> int: ...
    @property
    def verdict(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def kv_bytes(self) -> int: ...


@dataclass(frozen=True)
class Point:
    """One point of a curve: a series at a sparsity."""

    sparsity: float
    """Share of KV heads compressed, as asked for."""
    kept: int
    """KV heads with the full cache; for token dropping: of the mask whose bytes it may use."""
    samples: int
    problems: int
    accuracy: float
    interval: Interval
    """Of the accuracy."""
    difference: float | None
    """Accuracy less that of the full cache on the same problems."""
    difference_interval: Interval | None
    tokens: float
    """Mean length of an answer."""
    tokens_right: float | None
    """Mean length of the right answers."""
    kv_bytes: float
    """Mean measured bytes of an answer at its end."""
    length: float
    """Mean tokens in the cache at its end."""
    modes: Mapping[str, float]
    """Share of each verdict."""
    cells: tuple[str, ...]
    """Which cells it is the mean of: several for random masks."""
    complete: bool = True
    """Whether all answers are there. Short problems come first, so an earlier look flatters."""


@dataclass(frozen=True)
class Series:
    """One curve."""

    key: str
    title: str
    method: str
    top: bool
    points: tuple[Point, ...]
    """By sparsity; the full cache is no part of it."""


@dataclass(frozen=True)
class Results:
    """All curves of an evaluation, as far as it has come."""

    full: Point | None
    series: tuple[Series, ...]
    samples: int
    wanted: int
    """Samples when it is complete."""

    @property
    def complete(self) -> bool:
        return self.samples >= self.wanted > 0

    def measured(self) -> Results:
        """Without the points whose answers are not all there, and curves that have no others."""
        series = (
            replace(one, points=tuple(point for point in one.points if point.complete))
            for one in self.series
        )
        full = self.full if self.full and self.full.complete else None
        return replace(self, full=full, series=tuple(one for one in series if one.points))


def results(
    cells: Sequence[tuple[str, Mapping[str, Any]]],
    marks: Iterable[MarkLike],
    *,
    problems: int,
    draws: int = 1,
    seed: int = 0,
) -> Results:
    """The table of what was measured so far.

    Args:
        cells: key and `Cell.info` of each, in order.
        problems: of the whole evaluation; `draws` answers to each.
        seed: of the bootstrap.
    """
    by_cell: dict[str, list[MarkLike]] = defaultdict(list)
    for mark in marks:
        by_cell[mark.cell].append(mark)
    full = by_cell.get(FULL, [])
    groups: dict[str, dict[float, list[str]]] = {}
    infos = dict(cells)
    for key, info in cells:
        if key != FULL:
            by_sparsity = groups.setdefault(info["series"], {})
            by_sparsity.setdefault(float(info["sparsity"]), []).append(key)

    def point(keys: Sequence[str]) -> Point | None:
        found = [mark for key in keys for mark in by_cell.get(key, [])]
        if not found:
            return None
        complete = len(found) == len(keys) * problems * draws
        return _point(infos[keys[0]], keys, found, full, seed, complete)

    series = []
    for key, by_sparsity in groups.items():
        info = infos[next(iter(by_sparsity.values()))[0]]
        points = [point(keys) for _, keys in sorted(by_sparsity.items())]
        shown = tuple(one for one in points if one is not None)
        series.append(Series(key, info["title"], info["method"], bool(info["top"]), shown))
    return Results(
        full=point([FULL]) if FULL in infos else None,
        series=tuple(series),
        samples=sum(map(len, by_cell.values())),
        wanted=len(cells) * problems * draws,
    )


def gain(
    a: Iterable[MarkLike], b: Iterable[MarkLike], seed: int = 0
) -> tuple[float, Interval, int] | None:
    """Accuracy of one cell, `b`, less that of another, `a`, its interval, and of how many problems.

    Taken problem by problem, over those that both have answers to; None if there are none.
    """
    first, second = _by_problem(a), _by_problem(b)
    shared = sorted(set(first) & set(second))
    if not shared:
        return None
    gaps = np.array([np.mean(second[p]) - np.mean(first[p]) for p in shared])
    return float(gaps.mean()), bootstrap(gaps, seed), len(shared)


def near_lossless(series: Series, tolerance: float) -> Point | None:
    """The largest sparsity up to which nothing measured lost more than `tolerance`.

    A point passes if the lower end of the 95 % interval of its difference from the full cache is
    not below `-tolerance`. The first that fails ends the search, also if a later one would pass.
    """
    best = None
    for point in series.points:
        if not point.complete or point.difference_interval is None:
            break
        if point.difference_interval[0] < -tolerance:
            break
        best = point
    return best


def unseen(problems: int) -> float:
    """The largest loss that can hide where no answer of so many problems was lost, at 95 %.

    The interval of such a point has no width, since a bootstrap draws only what was seen.
    """
    return 1.0 - (1.0 - CONFIDENCE) ** (1.0 / problems)


def _point(
    info: Mapping[str, Any],
    keys: Sequence[str],
    marks: Sequence[MarkLike],
    full: Sequence[MarkLike],
    seed: int,
    complete: bool,
) -> Point:
    right = _by_problem(marks)
    base = _by_problem(full)
    accuracy = float(np.mean([mark.verdict == "right" for mark in marks]))
    shared = sorted(set(right) & set(base))
    difference = interval = None
    if shared and keys[0] != FULL:
        full_shares = np.array([np.mean(base[p]) for p in shared])
        gaps = _shares(marks, shared, complete) - full_shares
        difference, interval = float(gaps.mean()), bootstrap(gaps, seed)
    lengths = [mark.tokens for mark in marks if mark.verdict == "right"]
    return Point(
        sparsity=float(info["sparsity"]),
        kept=int(info["kept"]),
        samples=len(marks),
        problems=len(right),
        accuracy=accuracy,
        interval=bootstrap(_shares(marks, sorted(right), complete), seed),
        difference=difference,
        difference_interval=interval,
        tokens=_mean(mark.tokens for mark in marks),
        tokens_right=float(np.mean(lengths)) if lengths else None,
        kv_bytes=_mean(mark.kv_bytes for mark in marks),
        length=_mean(mark.length for mark in marks),
        modes={v: float(np.mean([mark.verdict == v for mark in marks])) for v in VERDICTS},
        cells=tuple(keys),
        complete=complete,
    )


def bootstrap(values: Numbers, seed: int = 0) -> Interval:
    """The 95 % percentile interval of the mean of `values` `[problems]` or `[masks, problems]`.

    Masks and problems are drawn independently, since every mask is asked the same problems.
    Resampling problems asks only how often each different column comes, so that is what is drawn.
    """
    table = np.atleast_2d(values)
    masks, problems = table.shape
    different, counts = np.unique(table, axis=1, return_counts=True)
    draw = np.random.default_rng(seed)
    times = draw.multinomial(problems, counts / problems, size=RESAMPLES)
    of_masks = draw.multinomial(masks, np.full(masks, 1 / masks), size=RESAMPLES)
    means = ((of_masks @ different) * times).sum(axis=1) / (masks * problems)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _shares(marks: Sequence[MarkLike], problems: Sequence[int], complete: bool) -> Numbers:
    """Share right of each problem `[masks, problems]`.

    One row for all masks while answers are missing: then no mask has been asked everything.
    """
    by_cell: dict[str, list[MarkLike]] = defaultdict(list)
    for mark in marks:
        by_cell[mark.cell if complete else ""].append(mark)
    rows = []
    for of_one in by_cell.values():
        right = _by_problem(of_one)
        rows.append([np.mean(right[problem]) for problem in problems])
    return np.array(rows, dtype=np.float64)


def _by_problem(marks: Iterable[MarkLike]) -> dict[int, list[bool]]:
    found: dict[int, list[bool]] = defaultdict(list)
    for mark in marks:
        found[mark.problem].append(mark.verdict == "right")
    return found


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
