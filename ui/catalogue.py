"""The masks one can choose from: the shipped example and those in the database."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from functools import lru_cache

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from storage.errors import StorageError
from ui.studio import EXAMPLES, Studio

SHIPPED = "shipped"
"""The key of the example that comes with the app."""


@dataclass(frozen=True)
class Entry:
    """One mask with where it came from."""

    key: str
    mask: HeadMask
    job_id: str | None = None


@lru_cache(maxsize=1)
def shipped() -> HeadMask | None:
    """The shipped example, or None where it is missing."""
    try:
        return HeadMask.load(EXAMPLES / "masks" / "tracer")
    except UserError as error:
        logging.getLogger(__name__).warning("No shipped mask: %s", error)
        shipped.cache_clear()
        return None


def choices(studio: Studio, *, model: str | None = None) -> list[tuple[str, str]]:
    """(label, key) of every mask, newest first, the shipped one on top."""
    found = []
    mask = shipped()
    if mask is not None and model in (None, mask.model):
        found.append((f"Shipped example · {mask.layers}x{mask.kv_heads}", SHIPPED))
    for row in studio.masks.list(model=model):
        made = time.strftime("%d %b %H:%M", time.localtime(row.created_at))
        found.append((f"{row.name or 'Mask'} · {row.layers}x{row.kv_heads} · {made}", row.id))
    return found


def find(studio: Studio, key: str | None) -> Entry | None:
    """The mask called `key`; the shipped or else the newest one if that is None or gone."""
    if key and key != SHIPPED:
        try:
            row = studio.masks.get(key)
            return Entry(row.id, HeadMask.from_record(asdict(row)), row.job_id)
        except StorageError:
            pass
    mask = shipped()
    if mask is not None:
        return Entry(SHIPPED, mask)
    rows = studio.masks.list()
    return find(studio, rows[0].id) if rows else None
