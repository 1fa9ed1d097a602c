"""The masks one can choose from: the shipped examples and those in the database."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlkv.errors import UserError
from rlkv.gate_history import FILE, GateHistory
from rlkv.hub.names import split_revision
from rlkv.job_export import ALL
from rlkv.mask_link import is_link
from rlkv.masks import HeadMask
from storage.errors import StorageError
from storage.masks import MaskRow
from ui.studio import EXAMPLES, Studio

SHIPPED = "shipped"
"""The key of the embedded model's example; the other shipped ones are `shipped:NAME`."""
DEFAULT = "tracer"
"""The folder of the first of them, under `examples/masks/`."""


MADE_FROM = "made_from"
"""In a mask's notes: name and key of the mask that it was made from by hand."""


@dataclass(frozen=True)
class Entry:
    """One mask with where it came from."""

    key: str
    mask: HeadMask
    job_id: str | None = None
    folder: Path | None = None
    """Of a shipped mask."""

    @property
    def is_shipped(self) -> bool:
        return self.folder is not None

    @property
    def is_stored(self) -> bool:
        """Whether it is in the database: not shipped, and not in a link only."""
        return not self.is_shipped and not is_link(self.key)


def is_shipped(key: str | None) -> bool:
    """Whether a key names a mask that came with the app and is not in the database."""
    return key is not None and (key == SHIPPED or key.startswith(f"{SHIPPED}:"))


@lru_cache(maxsize=1)
def shipped_masks() -> dict[str, Entry]:
    """All shipped examples by key, the embedded model's first."""
    found = {}
    folders = sorted((EXAMPLES / "masks").glob("*/"), key=lambda f: (f.name != DEFAULT, f.name))
    for folder in folders:
        try:
            mask = HeadMask.load(folder)
        except UserError as error:
            logging.getLogger(__name__).warning("No shipped mask: %s", error)
            continue
        key = SHIPPED if folder.name == DEFAULT else f"{SHIPPED}:{folder.name}"
        found[key] = Entry(key, mask, folder=folder)
    return found


def shipped() -> HeadMask | None:
    """The embedded model's example, or None where it is missing."""
    entry = shipped_masks().get(SHIPPED)
    return entry.mask if entry else None


def choices(
    studio: Studio,
    *,
    model: str | None = None,
    shape: tuple[int, int] | None = None,
    also: str | None = None,
) -> list[tuple[str, str]]:
    """(label, key) of all masks, or of one model or shape: shipped ones, then the newest first.

    Before them the mask of the link `also`, if it is one and fits. Of a model named with a
    revision, masks of all revisions.
    """
    model = model and split_revision(model)[0]
    fit = [
        entry
        for entry in shipped_masks().values()
        if model in (None, entry.mask.model) and shape in (None, entry.mask.shape)
    ]
    found = [(_shipped_label(entry), entry.key) for entry in fit]
    linked = from_link(also)
    if (
        linked
        and (model is None or linked.mask.model in ("", model))
        and shape in (None, linked.mask.shape)
    ):
        found.insert(0, (link_label(linked), linked.key))
    for row in studio.masks.list(model=model):
        if shape in (None, (row.layers, row.kv_heads)):
            found.append((_label(row), row.id))
    return found


def find(studio: Studio, key: str | None) -> Entry | None:
    """The mask called `key`, or the one in the link `key`; the shipped or else the newest one if
    that is None or gone."""
    if (linked := from_link(key)) is not None:
        return linked
    if is_shipped(key):
        entry = shipped_masks().get(str(key))
        if entry is not None:
            return entry
    elif key:
        try:
            return _entry(studio.masks.get(key))
        except StorageError:
            pass
    for entry in shipped_masks().values():
        return entry
    rows = studio.masks.list()
    return find(studio, rows[0].id) if rows else None


def from_link(key: str | None) -> Entry | None:
    """The mask in a link text, which is stored nowhere; None if `key` is none that can be read."""
    if not key or not is_link(key):
        return None
    try:
        return Entry(key, HeadMask.load(key))
    except UserError:
        return None


def link_label(entry: Entry) -> str:
    """What a mask from a link is called in a list."""
    return f"From a link, not kept · {entry.mask.layers}x{entry.mask.kv_heads}"


def entries(studio: Studio, *, model: str, shape: tuple[int, int]) -> list[Entry]:
    """All masks of a model and shape, as `choices` orders them."""
    saved = (_entry(row) for row in studio.masks.list(model=model))
    found = [*shipped_masks().values(), *saved]
    return [one for one in found if (one.mask.model, one.mask.shape) == (model, shape)]


def learned_by(studio: Studio, job_id: str) -> list[MaskRow]:
    """The masks that a job learned, the newest first, without those made from them by hand."""
    return [row for row in studio.masks.list(job_id=job_id) if MADE_FROM not in row.info]


def history(studio: Studio, entry: Entry) -> GateHistory | None:
    """The gates over the training that the mask came from, or None where there was none."""
    if entry.folder is not None:
        return _shipped_history(entry.folder, entry.mask.shape)
    if entry.job_id is not None:
        found = job_history(studio, entry.job_id)
        fits = found is not None and found.shape == entry.mask.shape and len(found)
        return found if fits else None
    origin = shipped_masks().get(made_from(entry.mask)[1])
    return _shipped_history(origin.folder, entry.mask.shape) if origin and origin.folder else None


def made_from(mask: HeadMask) -> tuple[str, str]:
    """Name and key of the mask that this one was made from by hand; "" where it was not."""
    return _origin(mask.info)


def job_history(studio: Studio, job_id: str) -> GateHistory | None:
    """The gates of a job so far; None before its first step."""
    shape = studio.metrics.snapshot_shape(job_id)
    if shape is None:
        return None
    rewards = studio.metrics.series(job_id, ["reward"], max_points=ALL).get("reward", [])
    return GateHistory.of(studio.metrics.snapshots(job_id), shape, rewards)


@lru_cache(maxsize=16)
def _shipped_history(folder: Path, shape: tuple[int, int]) -> GateHistory | None:
    try:
        found = GateHistory.load(folder / FILE)
    except UserError:
        return None
    return found if found.shape == shape and len(found) else None


def _entry(row: MaskRow) -> Entry:
    return Entry(row.id, HeadMask.from_record(asdict(row)), row.job_id)


def _origin(info: Mapping[str, Any]) -> tuple[str, str]:
    """As `made_from`, of a mask's notes; an uploaded file may say anything there."""
    noted = info.get(MADE_FROM)
    if not isinstance(noted, dict):
        return "", ""
    return str(noted.get("name", "")), str(noted.get("key", ""))


def _label(row: MaskRow) -> str:
    made = time.strftime("%d %b %H:%M", time.localtime(row.created_at))
    name, _ = _origin(row.info)
    origin = f" · from {name[:40]}" if name else ""
    return f"{row.name or 'Mask'} · {row.layers}x{row.kv_heads} · {made}{origin}"


def name_of(key: str, mask: HeadMask) -> str:
    """What the pages call a mask; the embedded model's example has one name everywhere."""
    return "Shipped example" if key == SHIPPED else mask.name or "Mask"


def _shipped_label(entry: Entry) -> str:
    return f"{name_of(entry.key, entry.mask)} · {entry.mask.layers}x{entry.mask.kv_heads}"
