"""The views of a mask: what the head map's cells stand for. Numbers and words in, no page.

Every view is a table [layers, kv_heads] with a scale, the words at each cell and a line that
says what one sees. All of them are seen at the cut on screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.gate_history import GateHistory
from rlkv.masks import HeadMask
from ui.components.headmap import GATE_LEGEND, Legend, Scale, gate_text
from ui.units import percent

VIEWS = {
    "gate": "Gate",
    "rank": "Rank",
    "kept": "Kept",
    "change": "Change",
    "difference": "Difference",
    "agreement": "Agreement",
}
RANDOM, OPPOSITE = "random", "opposite"
"""What a mask can be compared with besides other masks."""


@dataclass(frozen=True)
class Other:
    """The second mask of a difference, and what to call it."""

    name: str
    mask: HeadMask


@dataclass(frozen=True)
class Beside:
    """What the views need besides the mask."""

    history: GateHistory | None = None
    base: int | None = None
    """Step that a change is counted from."""
    other: Other | None = None
    peers: Sequence[HeadMask] = ()
    """Masks of the same model, shape and task from other seeds."""


@dataclass(frozen=True)
class Picture:
    """What `head_map_value` draws, without what all views share."""

    values: NDArray[Any]
    scale: Scale
    texts: list[list[str]]
    hover: list[list[str]]
    legend: Legend
    name: str
    column: str


def picture(view: str, mask: HeadMask, beside: Beside) -> Picture:
    """The mask in one of `VIEWS`."""
    if view == "rank":
        return _rank(mask)
    if view == "kept":
        return _kept(mask)
    if view == "change" and beside.history is not None:
        return _change(mask, beside.history, beside.base)
    if view == "difference" and beside.other is not None:
        return _difference(mask, beside.other)
    if view == "agreement":
        return _agreement(mask, beside.peers)
    note = "This mask came without its training, so these are its gates." * (view == "change")
    return _gate(mask, note)


def needed(mask: HeadMask) -> Picture:
    """How much each head is needed, from orange to blue: the first thing that a visitor sees.

    The gates where they are what orders the heads, else the scores with the ranks in the cells.
    """
    if ordered_by_gate(mask):
        return _gate(mask)
    legend: Legend = {
        "low": f"{mask.kept.size}  first to be compressed",
        "high": "1  needed most",
    }
    texts = _rank(mask).texts
    return Picture(
        mask.scores, "gate", texts, _words(mask), legend, "Rank of every KV head", "score"
    )


def ordered_by_gate(mask: HeadMask) -> bool:
    """Whether the ranking is that of the gates, so that a cut is a threshold on them."""
    gates = mask.gates.ravel()[np.argsort(mask.ranks(), axis=None)]
    return bool((np.diff(gates) <= 0).all())


def by_hand(mask: HeadMask) -> bool:
    """Whether the kept heads are no cut of the mask's ranking."""
    return not np.array_equal(mask.kept, mask.ranks() < mask.n_kept)


def compared_with(mask: HeadMask, other: HeadMask) -> tuple[NDArray[np.bool_], bool]:
    """The heads that `other` keeps, and whether it was cut to as many heads as `mask` keeps.

    Only two cuts of rankings are compared at the same number of heads. Where one of the masks was
    edited by hand, the other is taken as it was saved, so that the difference shows the edits.
    """
    if other.n_kept == mask.n_kept or by_hand(mask) or by_hand(other):
        return other.kept, False
    return other.keep_best(mask.n_kept).kept, True


def base_step(history: GateHistory, step: int | None) -> int:
    """Position of `step` in the history; the first one if it is not there."""
    found = np.flatnonzero(history.steps == step) if step is not None else np.array([], int)
    return int(found[0]) if found.size else 0


# --- the views ------------------------------------------------------------------------------


def _words(mask: HeadMask, *first: NDArray[Any] | list[list[str]]) -> list[list[str]]:
    """At each cell: the words of `first`, then gate and rank."""
    places = (mask.ranks() + 1).tolist()
    gates = mask.gates.tolist()
    lead = [table.tolist() if isinstance(table, np.ndarray) else table for table in first]
    return [
        [
            " · ".join(
                [
                    *(table[layer][head] for table in lead if table[layer][head]),
                    f"gate {gates[layer][head]:.3f}",
                    f"rank {places[layer][head]} of {mask.kept.size}",
                ]
            )
            for head in range(mask.kv_heads)
        ]
        for layer in range(mask.layers)
    ]


def _gate(mask: HeadMask, note: str = "") -> Picture:
    gates = mask.gates
    legend: Legend = {**GATE_LEGEND}
    if not note and not ordered_by_gate(mask):
        note = (
            "After the training, heads were compressed group by group to see which are missed. "
            "That decided the order, so a kept head can have a low gate: see Rank."
        )
    if note:
        legend["note"] = note
    texts = [[gate_text(gate) for gate in row] for row in gates.tolist()]
    return Picture(gates, "gate", texts, _words(mask), legend, "Gate of every KV head", "gate")


def _rank(mask: HeadMask) -> Picture:
    order = mask.ranks()
    texts = [[str(place + 1) for place in row] for row in order.tolist()]
    legend: Legend = {
        "low": f"{order.size}  first to be compressed",
        "high": "1  needed most",
    }
    values = 1.0 - order / max(1, order.size - 1)
    return Picture(values, "rank", texts, _words(mask), legend, "Rank of every KV head", "rank")


def _kept(mask: HeadMask) -> Picture:
    texts = [["" for _ in range(mask.kv_heads)] for _ in range(mask.layers)]
    legend: Legend = {
        "note": f"{mask.n_kept} of {mask.kept.size} heads keep the whole past. The others keep "
        f"the {mask.sink} first and the {mask.recent} latest tokens."
    }
    values = mask.kept.astype(np.float64)
    return Picture(values, "kept", texts, _words(mask), legend, "Kept KV heads", "kept")


def _change(mask: HeadMask, history: GateHistory, step: int | None) -> Picture:
    at = base_step(history, step)
    first, last = int(history.steps[at]), int(history.steps[-1])
    moved = history.gates[-1] - history.gates[at]
    before, after = history.gates[at].tolist(), history.gates[-1].tolist()
    lead = [
        [f"{a:.2f} at step {first}, {b:.2f} at the end" for a, b in zip(*rows, strict=True)]
        for rows in zip(before, after, strict=True)
    ]
    texts = [["" if abs(m) < 0.005 else f"{m:+.2f}" for m in row] for row in moved.tolist()]
    legend: Legend = {
        "low": "\N{MINUS SIGN}1  more compressed",
        "high": "+1  more full",
        "note": f"How far each gate moved from step {first} to step {last}. Choose the first "
        "step with the slider.",
    }
    return Picture(
        moved, "diverging", texts, _words(mask, lead), legend, "Change of every gate", "change"
    )


def _difference(mask: HeadMask, other: Other) -> Picture:
    theirs, cut = compared_with(mask, other.mask)
    values = mask.kept.astype(np.int8) - theirs.astype(np.int8)
    lead = np.select(
        [values > 0, values < 0], ["kept only here", "kept only there"], "same in both"
    )
    texts = [["+" if v > 0 else "\N{MINUS SIGN}" if v < 0 else "" for v in row] for row in values]
    both, apart = int((mask.kept & theirs).sum()), int((values != 0).sum())
    differ = f"{apart} {'head differs' if apart == 1 else 'heads differ'}"
    chance = mask.n_kept * int(theirs.sum()) / mask.kept.size
    how = f", cut to the same {mask.n_kept} heads" if cut else f", {int(theirs.sum())} heads"
    legend: Legend = {
        "low": "kept only there",
        "high": "kept only here",
        "note": f"Against {other.name}{how}: {both} of the {mask.n_kept} kept heads are kept in "
        f"both (by chance it would be {chance:.1f}), and "
        f"{differ}. Rank correlation {mask.rank_correlation(other.mask):.2f}.",
    }
    return Picture(
        values, "diverging", texts, _words(mask, lead), legend, "Difference of two masks",
        "difference",
    )  # fmt: skip


def _agreement(mask: HeadMask, peers: Sequence[HeadMask]) -> Picture:
    tables = [mask.kept, *(peer.keep_best(mask.n_kept).kept for peer in peers)]
    count = len(tables)
    share = np.mean(tables, axis=0)
    by = "seed keeps" if count == 1 else "seeds keep"
    lead = [[f"{round(s * count)} of {count} {by} it" for s in row] for row in share.tolist()]
    texts = [[f"{round(s * count)}/{count}" for s in row] for row in share.tolist()]
    legend: Legend = {
        "low": "every seed compresses it",
        "high": "every seed keeps it",
        "note": _agreement_note(mask, tables),
    }
    return Picture(
        share, "share", texts, _words(mask, lead), legend, "Agreement over seeds", "share of seeds"
    )


def _agreement_note(mask: HeadMask, tables: list[NDArray[np.bool_]]) -> str:
    chance = mask.n_kept / mask.kept.size
    if len(tables) == 1:
        return (
            "There is only one seed here, so it agrees with itself. Train the same model and task "
            f"with another seed to see which heads return; by chance {percent(chance)} of the "
            "kept heads would."
        )
    shared = [float((a & b).sum()) / max(1, int(a.sum())) for a, b in combinations(tables, 2)]
    always = int(np.all(tables, axis=0).sum())
    return (
        f"{len(tables)} seeds at this cut. Two of them share {percent(float(np.mean(shared)))} of "
        f"their kept heads; two random masks would share {percent(chance)}. {always} heads are "
        "kept by every seed."
    )
