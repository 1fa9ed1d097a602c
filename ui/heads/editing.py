"""Edits of a mask by hand: what each one does, and how to undo it. Knows no page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rlkv.errors import UserError
from rlkv.masks import HeadMask, Kept
from ui.components.head_panel import HeadSize

MOST = 100
"""Edits that can be undone."""
TOGETHER = 1.0
"""Seconds within which moves of the slider count as one edit."""
MB = 1_000_000
MOST_MB = 1_000_000_000
"""The largest budget in MB: a million GB."""


@dataclass(frozen=True)
class Edits:
    """The kept heads before each edit, and after each one undone; newest last."""

    past: tuple[Kept, ...] = ()
    future: tuple[Kept, ...] = ()
    cut_at: float | None = None
    """When the newest edit was made, if it was a move of the slider."""

    def edited(self, before: HeadMask, *, cut_at: float | None = None) -> Edits:
        """Notes an edit of `before`; `cut_at` is the time in seconds of a move of the slider."""
        if cut_at is not None and self.cut_at is not None and cut_at - self.cut_at < TOGETHER:
            return replace(self, cut_at=cut_at, future=())
        return Edits((*self.past, before.kept)[-MOST:], (), cut_at)

    def undone(self, mask: HeadMask) -> tuple[Edits, HeadMask]:
        """One edit back; both as they are if there is none."""
        if not self.past:
            return self, mask
        edits = Edits(self.past[:-1], (*self.future, mask.kept))
        return edits, replace(mask, kept=self.past[-1])

    def redone(self, mask: HeadMask) -> tuple[Edits, HeadMask]:
        """One undone edit forward again; both as they are if there is none."""
        if not self.future:
            return self, mask
        edits = Edits((*self.past, mask.kept), self.future[:-1])
        return edits, replace(mask, kept=self.future[-1])


def painted_mask(mask: HeadMask, cells: Iterable[tuple[int, int]], keep: bool) -> HeadMask:
    """Keeps or compresses `cells`, each a (layer, KV head) of the mask."""
    kept = mask.kept.copy()
    for cell in cells:
        kept[cell] = keep
    return replace(mask, kept=kept)


def layer_mask(mask: HeadMask, layer: int, keep: bool) -> HeadMask:
    """Keeps or compresses all heads of one layer."""
    return painted_mask(mask, ((layer, head) for head in range(mask.kv_heads)), keep)


def best_under_budget(
    mask: HeadMask, size: HeadSize | None, *, megabytes: float, length: float, batch: float
) -> HeadMask:
    """Keeps the best heads that fit `megabytes` (10^6 bytes) of KV for `batch` rows of `length`.

    Raises:
        UserError: if a number makes no sense, the head size is unknown, or the window of every
            head alone needs more.
    """
    if size is None:
        raise UserError("This mask names no model known here, so its heads have no known size.")
    if not _whole(length, 1, 10_000_000) or not _whole(batch, 1, 100_000):
        raise UserError("Length and batch are whole numbers from 1 up.")
    if not np.isfinite(megabytes) or not 0 < megabytes <= MOST_MB:
        raise UserError(f"The budget is a number of MB above 0 and up to {MOST_MB:,}.")
    tokens, rows = int(length), int(batch)
    least = kv_megabytes(mask.keep_best(0), size, tokens, rows)
    if megabytes < least:
        raise UserError(
            f"{megabytes:g} MB are too few: with every head compressed "
            f"{_up(least)} MB are needed for {rows} x {tokens:,} tokens."
        )
    one = int(megabytes * MB / rows)
    sizes = {"head_dim": size.head_dim, "itemsize": size.itemsize}
    return mask.with_budget(bytes=one, length=tokens, **sizes)


def kv_megabytes(mask: HeadMask, size: HeadSize, length: int, batch: int) -> float:
    """KV memory in MB by the formula."""
    sizes = {"head_dim": size.head_dim, "itemsize": size.itemsize}
    return mask.kv_bytes(length, batch=batch, **sizes) / MB


def _whole(value: float, low: int, high: int) -> bool:
    return low <= value <= high and float(value).is_integer()


def _up(megabytes: float) -> str:
    """Rounded up, so that the number shown is enough."""
    digits = 3 if megabytes < 10 else 1
    return f"{np.ceil(megabytes * 10**digits) / 10**digits:g}"
