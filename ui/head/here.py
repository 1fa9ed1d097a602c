"""Which head of which mask and model the page shows, from its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import numpy as np

from rlkv.masks import HeadMask
from ui import catalogue
from ui.engine import MODEL
from ui.heavy import heavy
from ui.models.allowed import require_allowed
from ui.studio import Studio

MAX_REF = 500
UNDER_WAY = ("checking", "loading", "ready")


@dataclass(frozen=True)
class Here:
    """What one visitor looks at."""

    entry: catalogue.Entry
    model: str
    """Reference of the model that measurements run on."""
    cell: tuple[int, int]
    """(layer as a row of the mask, KV head)."""

    @property
    def mask(self) -> HeadMask:
        return self.entry.mask

    @property
    def head(self) -> str:
        """As people write it: `12.3`."""
        return f"{self.cell[0]}.{self.cell[1]}"

    def at(self, cell: tuple[int, int]) -> Here:
        """The same mask, another head."""
        return replace(self, cell=cell)

    def on(self, model: str) -> Here:
        """The same head, measured on another model."""
        return replace(self, model=model[:MAX_REF])

    def address(self, cell: tuple[int, int] | None = None) -> str:
        """Link to a head's page, relative to the app's."""
        layer, head = cell or self.cell
        return link(self.entry.key, self.model, layer, head)


def link(key: str, model: str, layer: int, head: int) -> str:
    """The address of a head's page, for an `href`."""
    query = urlencode({"model": model, "mask": key, "head": f"{layer}.{head}"})
    return f"./head?{query}"


def from_address(studio: Studio, query: Mapping[str, str]) -> Here | None:
    """What an address asks for; the most needed head where it names none. None without any mask."""
    entry = catalogue.find(studio, query.get("mask"))
    if entry is None:
        return None
    top = np.argwhere(entry.mask.ranks() == 0)[0]
    cell = parsed(query.get("head"), entry.mask.shape) or (int(top[0]), int(top[1]))
    model = query.get("model") or entry.mask.model or MODEL
    return Here(entry, model[:MAX_REF], cell)


def parsed(text: str | None, shape: tuple[int, int]) -> tuple[int, int] | None:
    """`12.3` as (layer, head), or None if there is no such head."""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text or "")
    if found is None:
        return None
    layer, head = int(found[1]), int(found[2])
    return (layer, head) if layer < shape[0] and head < shape[1] else None


def require_model(studio: Studio, here: Here) -> None:
    """Whether this visitor may have the model loaded.

    Raises:
        UserError: on a public copy for other models than the embedded one.
    """
    require_allowed(studio, here.model)


def needs_a_press(studio: Studio, here: Here) -> bool:
    """Whether its model would have to be downloaded, or made up, only because somebody opened a
    link: such a model waits for a press of Look."""
    if here.model == MODEL or studio.engines.status(here.model).state in UNDER_WAY:
        return False
    try:
        place: str = heavy("rlkv.model_facts").place_of(here.model)
    except (OSError, RuntimeError, ValueError):
        return False  # no name at all: loading says so at once
    return place in ("hub", "random")
