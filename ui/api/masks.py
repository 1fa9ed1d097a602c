"""Endpoints that look at masks."""

from __future__ import annotations

import json
import math
from typing import Any

from rlkv.errors import UserError
from rlkv.mask_link import is_link
from rlkv.mask_metrics import figure, is_claimed, true_info
from rlkv.masks import HeadMask
from rlkv.snippets import python_snippet
from ui import catalogue
from ui.api.answers import MaskLine, MaskWhole
from ui.studio import Studio

LONGEST_KEY = 20_000
"""Characters of a key or link; a link has one for six heads."""


class MaskEndpoints:
    """Nothing here changes anything."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def list_masks(self, model: str = "") -> list[MaskLine]:
        """Lists the head masks of this app: shipped ones first, then the newest.

        Args:
            model: Only those for this model; empty for all.
        """
        found = (
            catalogue.find(self._studio, key)
            for _, key in catalogue.choices(self._studio, model=str(model or "") or None)
        )
        return [_line(one) for one in found if one is not None]

    def get_mask(self, mask: str) -> MaskWhole:
        """Gives one mask with its scores, kept heads, link and a Python snippet.

        Args:
            mask: Key from list_masks, or a mask's link text.
        """
        entry = entry_of(self._studio, mask)
        found = entry.mask
        info: dict[str, Any] = json.loads(json.dumps(true_info(found), default=str))
        return {
            **_line(entry),
            "scores": found.scores.astype(float).round(8).tolist(),
            "kept_heads": found.kept.tolist(),
            "link": found.to_link(),
            "python": python_snippet(found),
            "info": info,
        }


def entry_of(studio: Studio, mask: Any) -> catalogue.Entry:
    """The mask that a key or a link text names; never a file of this machine.

    Raises:
        UserError: if there is none.
    """
    key = str(mask or "").strip()
    if len(key) <= LONGEST_KEY and is_link(key):
        return catalogue.Entry(key, HeadMask.load(key))
    entry = catalogue.find(studio, key) if key else None
    if entry is None or entry.key != key:
        raise UserError(f"There is no mask '{key[:80]}': list_masks tells the keys.")
    return entry


def number(value: Any, what: str, low: float, high: float) -> float:
    """A finite number within bounds; any client may send anything.

    Raises:
        UserError: naming `what`.
    """
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not ok or not low <= value <= high:
        raise UserError(f"{what} has to be a number from {low:g} to {high:,.10g}.")
    return float(value)


def cut(mask: HeadMask, sparsity: Any) -> HeadMask:
    """The mask at a sparsity; as it is at -1.

    Raises:
        UserError: if that is no share.
    """
    if sparsity == -1:
        return mask
    return mask.at_sparsity(number(sparsity, "sparsity", 0, 1))


def _line(entry: catalogue.Entry) -> MaskLine:
    mask, info = entry.mask, entry.mask.info
    accuracy = figure(mask, "accuracy_at_50")
    seed, task = info.get("seed"), info.get("task")
    return {
        "key": entry.key,
        "name": mask.name,
        "model": mask.model,
        "layers": mask.layers,
        "kv_heads": mask.kv_heads,
        "kept": mask.n_kept,
        "sparsity": round(mask.sparsity, 6),
        "sink": mask.sink,
        "recent": mask.recent,
        "task": task if isinstance(task, str) else "",
        "seed": seed if isinstance(seed, int) else None,
        "accuracy_at_50": accuracy,
        "accuracy_claimed": accuracy is not None and is_claimed(info),
        "shipped": entry.is_shipped,
        "job": entry.job_id,
    }
