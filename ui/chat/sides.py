"""Which masks answer: what the fields of the page say, checked, as sides.

Knows masks and numbers; the fields themselves stand in `layout`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from ui import catalogue
from ui.studio import Studio

FULL, RANDOM = "full", "random"
"""Keys of what is in no catalogue: every head kept, and heads chosen by chance."""
RANDOM_SEED, RANDOM_NAME = 0, "Random heads"
SHOWN = {"both": (0, 1), "first": (0,), "second": (1,), "three": (0, 1, 2)}
"""Which sides answer, by the value of the chips."""
COMPRESSED_ROLES = ("comp", "comp2", "comp3")
"""Colours of compressed sides, in the order in which they stand."""
COMPRESSED = "Compressed"
"""What the only side with a mask is called."""
MOST_WINDOW = 100_000
Shape = tuple[int, int]


@dataclass(frozen=True)
class Choice:
    """One side as the fields say it."""

    key: str
    sparsity: float
    sink: int
    recent: int

    @property
    def is_full(self) -> bool:
        return self.key == FULL


def choice(key: Any, sparsity: Any, sink: Any, recent: Any) -> Choice:
    """The fields of one side, which any client may send.

    Raises:
        UserError: if a number is none, or makes no sense.
    """
    if key == FULL:
        return Choice(FULL, 0.0, 0, 1)
    share = _number(sparsity, "sparsity")
    if not 0 <= share <= 1:
        raise UserError("The sparsity has to lie between 0 and 1.")
    first, latest = _number(sink, "number of first tokens"), _number(recent, "number of latest")
    if not 0 <= first <= MOST_WINDOW or not 1 <= latest <= MOST_WINDOW:
        raise UserError(
            f"A compressed head keeps 0 to {MOST_WINDOW:,} first tokens and 1 to {MOST_WINDOW:,} "
            "latest ones."
        )
    return Choice(str(key or ""), share, int(first), int(latest))


def mask_of(studio: Studio, chosen: Choice, shape: Shape, model: str) -> HeadMask | None:
    """The mask to answer under; None for the full cache.

    Raises:
        UserError: if the mask is gone, or is for a model of another shape.
    """
    if chosen.is_full:
        return None
    if chosen.key == RANDOM:
        mask = HeadMask.random(
            *shape, sparsity=chosen.sparsity, seed=RANDOM_SEED, model=model, name=RANDOM_NAME
        )
    else:
        mask = _found(studio, chosen)
        mask.require_shape(*shape, f"'{model}'")
    return replace(mask, sink=chosen.sink, recent=chosen.recent)


def _found(studio: Studio, chosen: Choice) -> HeadMask:
    """The chooser's mask, cut as it was asked for."""
    entry = catalogue.find(studio, chosen.key)
    if entry is None or entry.key != chosen.key:
        raise UserError("That mask is gone. Choose another one.")
    mask = entry.mask
    if abs(mask.sparsity - chosen.sparsity) > 0.005:
        mask = mask.at_sparsity(chosen.sparsity)
    return mask


def facts(
    masks: Sequence[HeadMask | None], slots: Sequence[int], keys: Sequence[str]
) -> list[dict[str, Any]]:
    """What the page says of each side: slot, colour, name, what it keeps. `keys` are the chooser's,
    "" for a mask that is not in it."""
    said = [side_facts(mask, key) for mask, key in zip(masks, keys, strict=True)]
    return _placed(said, slots)


def unknown_facts(
    studio: Studio, chosen: Sequence[Choice], slots: Sequence[int]
) -> list[dict[str, Any]]:
    """As `facts`, of a model whose shape is not known before it is loaded.

    Raises:
        UserError: if a mask is gone.
    """
    return _placed([_foretold(studio, one) for one in chosen], slots)


def _placed(said: list[dict[str, Any]], slots: Sequence[int]) -> list[dict[str, Any]]:
    """Gives every side its slot and colour; the only compressed one needs no name of its own."""
    compressed = [one for one in said if one["role"] == "comp"]
    for one, slot in zip(said, slots, strict=True):
        one["slot"] = slot
    for one, role in zip(compressed, COMPRESSED_ROLES, strict=False):
        one["role"] = role
    if len(compressed) == 1:
        compressed[0]["name"] = COMPRESSED
    return said


def _foretold(studio: Studio, one: Choice) -> dict[str, Any]:
    """What the fields alone say of a side."""
    if one.key == RANDOM:
        return {"role": "comp", "name": _short(RANDOM_NAME, one.sparsity), "hint": "", "mask": None}
    if one.is_full:
        return side_facts(None)
    mask = replace(_found(studio, one), sink=one.sink, recent=one.recent)
    return side_facts(mask, one.key)


def _short(name: str, sparsity: float) -> str:
    return f"{name[:24]}, {100 * sparsity:.0f} %"


def side_facts(mask: HeadMask | None, key: str = "") -> dict[str, Any]:
    """One side by itself, its mask called as in the chooser, where it is `key`."""
    if mask is None:
        return {"role": "full", "name": "Full", "hint": "every head keeps all", "mask": None}
    share = f"{100 * mask.sparsity:.0f} %"
    name = catalogue.name_of(key, mask)
    hint = (
        f"{name}: {share} of {mask.kept.size} heads compressed to the {mask.sink} first and "
        f"{mask.recent} latest tokens"
    )
    identity = {
        "name": name,
        "model": mask.model,
        "sparsity": mask.sparsity,
        "sink": mask.sink,
        "recent": mask.recent,
        "n_kept": mask.n_kept,
        "heads": int(mask.kept.size),
    }
    return {"role": "comp", "name": _short(name, mask.sparsity), "hint": hint, "mask": identity}


def choices(
    studio: Studio, model: str, shape: Shape | None, wanted: str = ""
) -> list[tuple[str, str]]:
    """(label, key) of the masks that fit the model: its own first, then of its shape. `wanted` may
    be a link, whose mask then comes first."""
    own = catalogue.choices(studio, model=model, shape=shape, also=wanted)
    foreign = _foreign(studio, shape, {key for _, key in own})
    return [*own, *foreign, (RANDOM_NAME, RANDOM), ("Full cache", FULL)]


def _foreign(studio: Studio, shape: Shape | None, known: set[str]) -> list[tuple[str, str]]:
    """(label, key) of masks of the shape that other models learned."""
    others = catalogue.choices(studio, shape=shape) if shape else []
    return [
        (f"{label} · learned on another model", key) for label, key in others if key not in known
    ]


def default_choice(studio: Studio, model: str, shape: Shape | None, wanted: str = "") -> Choice:
    """The mask wanted if it fits, else the model's first, else random heads."""
    keys = [key for _, key in choices(studio, model, shape, wanted)]
    key = wanted if wanted in keys and wanted != FULL else keys[0]
    return as_saved(studio, key)


def as_saved(studio: Studio, key: str) -> Choice:
    """A mask with the sparsity and window that it was saved with."""
    entry = None if key in (FULL, RANDOM) else catalogue.find(studio, key)
    if entry is None:
        return Choice(key, 0.5, 16, 64)
    mask = entry.mask
    return Choice(entry.key, round(mask.sparsity, 4), mask.sink, mask.recent)


def no_mask_words(studio: Studio, model: str, shape: Shape | None) -> str:
    """HTML of what to say where the model has learned no mask; "" where it has."""
    if catalogue.choices(studio, model=model, shape=shape):
        return ""
    instead = "so heads are chosen at random: expect worse answers than with a learned one"
    if _foreign(studio, shape, set()):
        instead = (
            "so one that another model of the same shape learned is used: it says which heads that "
            "model needs, not this one, and Evaluate does not offer it"
        )
    return (
        f'<p class="warn">No mask was learned for this model here, {instead}. '
        '<a href="./train">Train one</a>, or load one on <a href="./heads">Heads</a>.</p>'
    )


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"The {what} has to be a number.")
    return float(value)
