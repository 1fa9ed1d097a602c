"""What stands in a mask file, before it becomes a mask."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.mask_files.limits import Table, require_finite, require_info, require_shape

MAX_NAME, MAX_MODEL = 80, 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


@dataclass(frozen=True)
class Parsed:
    """Scores as written and what the file says of them; the shape and every value are checked."""

    form: str
    """What kind of file it was, in words."""
    scores: Table
    """float64 `[layers, kv_heads]`, finite, not yet clipped."""
    kept: NDArray[np.bool_] | None = None
    """bool `[layers, kv_heads]`, or None where the file holds scores only."""
    sink: int | None = None
    """Tokens; None where the file names no window."""
    recent: int | None = None
    model: str = ""
    revision: str = ""
    name: str = ""
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_shape(self.scores.shape)
        require_finite(self.scores)
        require_info(self.info)

    @property
    def clipped(self) -> int:
        """Scores outside [0, 1]: the mask takes the nearer end for them."""
        return int(((self.scores < 0) | (self.scores > 1)).sum())

    def fields(self) -> dict[str, Any]:
        """The fields of a HeadMask; the best half is kept where the file does not say.

        Raises:
            UserError: if the window makes no sense.
        """
        from rlkv.masks import HeadMask

        notes = []
        if self.clipped:
            notes.append(f"{self.clipped} scores outside [0, 1] were clipped")
        if self.kept is None:
            notes.append("read from a table of scores; the heads kept are the best half")
        info = dict(self.info)
        if notes:
            before = info.get("notes")
            info["notes"] = [*(before if isinstance(before, list) else []), *notes]
        window = {"sink": self.sink, "recent": self.recent}
        fields: dict[str, Any] = {
            "model": one_line(self.model, MAX_MODEL),
            "revision": one_line(self.revision, MAX_NAME),
            "name": one_line(self.name, MAX_NAME),
            "info": info,
            **{key: value for key, value in window.items() if value is not None},
        }
        scores = np.clip(self.scores, 0.0, 1.0).astype(np.float32)
        mask = HeadMask.from_scores(scores, **fields)
        kept = mask.kept if self.kept is None else self.kept
        return {**fields, "scores": scores, "kept": kept, "sink": mask.sink, "recent": mask.recent}


def one_line(text: object, most: int) -> str:
    """A text as one line without control characters, at most so many characters."""
    return " ".join(_CONTROL.sub(" ", str(text)).split())[:most]
