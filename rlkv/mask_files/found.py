"""What a file of somebody else's holds, for a person to look at before it is kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlkv.hub.cached import is_other
from rlkv.hub.names import split_revision
from rlkv.known_models import KNOWN, known
from rlkv.mask_files.parsed import Parsed
from rlkv.mask_files.reading import parse, parse_together
from rlkv.masks import HeadMask


@dataclass(frozen=True)
class Found:
    """A mask that was read and is not kept yet, and what is worth knowing of it."""

    mask: HeadMask
    form: str
    """What kind of file it was."""
    low: float
    """The lowest score as written."""
    high: float
    clipped: int
    """Scores outside [0, 1]."""
    ties: int
    """Compressed heads with the same score as the last kept one; 0 where the file names the kept
    heads."""
    has_kept: bool
    """Whether the file says which heads are kept."""
    has_window: bool

    @property
    def fits(self) -> list[str]:
        """Models known here whose table has this shape."""
        return [one.ref for one in KNOWN if (one.layers, one.kv_heads) == self.mask.shape]

    def warnings(
        self,
        revisions: Collection[tuple[str, str]] = (),
        in_use: Collection[str] = (),
        commit: str = "",
    ) -> list[str]:
        """What to look at twice.

        Args:
            revisions: (model, revision) of the masks already here.
            in_use: models that are loaded.
            commit: that of the mask's model on this machine, "" where it is not here.
        """
        mask = self.mask
        said = []
        model = known(mask.model)
        if not mask.model:
            said.append("It does not say which model it is for.")
        elif model is not None and (model.layers, model.kv_heads) != mask.shape:
            said.append(
                f"It names {mask.model}, which has {model.layers} x {model.kv_heads} heads, not "
                f"{mask.layers} x {mask.kv_heads}: it can't be used with it."
            )
        elif model is None and mask.model not in {name for name, _ in revisions}:
            said.append(f"It is for {mask.model}, a model that is not known here.")
        if mask.model and in_use and mask.model not in {split_revision(ref)[0] for ref in in_use}:
            said.append(f"It is for {mask.model}; loaded now: {', '.join(in_use)}.")
        if is_other(mask.revision, commit):
            said.append(
                f"It was learned on revision {mask.revision[:12]} of {mask.model}; on this machine "
                f"is {commit[:12]}."
            )
        others = {r for name, r in revisions if name == mask.model and r} - {mask.revision}
        if mask.revision and others:
            said.append(
                f"It was learned on revision {mask.revision[:12]} of its model; other masks here "
                f"are for {', '.join(sorted(r[:12] for r in others)[:3])}."
            )
        if self.ties:
            said.append(
                f"{self.ties} compressed heads have the same score as the last kept one: the order "
                "of layers and heads decides between them."
            )
        return said


def look(source: str | Path) -> Found:
    """What a file, a folder or a link holds.

    Raises:
        UserError: in one line, why it can't be used.
    """
    return _found(parse(source))


def look_together(paths: Collection[Path], name: str) -> Found:
    """As `look`, for the files of one folder that were handed over one by one."""
    return _found(parse_together(paths, name))


def _found(parsed: Parsed) -> Found:
    mask = HeadMask(**parsed.fields())
    return Found(
        mask=mask,
        form=parsed.form,
        low=float(parsed.scores.min()),
        high=float(parsed.scores.max()),
        clipped=parsed.clipped,
        ties=_ties(mask) if parsed.kept is None else 0,
        has_kept=parsed.kept is not None,
        has_window=parsed.sink is not None and parsed.recent is not None,
    )


def _ties(mask: HeadMask) -> int:
    if mask.n_kept in (0, mask.kept.size):
        return 0
    last = mask.scores[mask.kept].min()
    return int(np.count_nonzero(mask.scores[~mask.kept] == last))
