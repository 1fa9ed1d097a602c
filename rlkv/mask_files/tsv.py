"""Tables of scores as text: a row a layer, tab-separated, no header.

DuoAttention's `full_attention_heads.tsv` and RLKV's `adapter_weights.tsv`, which RLKV's SGLang fork
reads. Both are read there with numpy.loadtxt, so lines that begin with # are comments: what we
write says in such a line which heads are kept, and other programs pass over it.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from rlkv.errors import UserError
from rlkv.mask_files.json_text import read_object
from rlkv.mask_files.limits import MAX_HEADS, Table

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

MARK = "# rlkv-mask "
GAP = 0.02
"""Between the lowest kept and the highest compressed score of a spread table."""


def read_tsv(data: bytes, name: str) -> tuple[Table, dict[str, Any]]:
    """The table, and what our own comment line says ({} where there is none).

    Raises:
        UserError: if it is no table of numbers.
    """
    rows: list[list[float]] = []
    config: dict[str, Any] = {}
    try:
        for line in data.decode().splitlines():
            if line.startswith(MARK):
                config = read_object(line[len(MARK) :].encode(), name)
            elif line.strip() and not line.startswith("#"):
                rows.append([float(cell) for cell in line.split("\t")])
    except ValueError as error:
        raise UserError(f"'{name}' is not a table of numbers separated by tabs.") from error
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise UserError(f"'{name}' needs one row a layer, all of the same length.")
    if len(rows) * len(rows[0]) > MAX_HEADS:
        raise UserError(f"'{name}' has {len(rows)} x {len(rows[0])} scores; no model has as many.")
    return np.array(rows), config


def write_tsv(mask: HeadMask) -> bytes:
    """A row a layer under a line that says which heads are kept; nine digits give every float32
    back exactly."""
    return _written(mask.scores, _comment(mask), "%.9g")


def fork_sparsity(kept: int, heads: int) -> float:
    """The `--rlkv-sparsity` at which `kept` of `heads` heads pass its quantile.

    The fork keeps N - ceil(s (N - 1)) heads; this is the middle of the range of s that gives the
    number wanted, so that no rounding can move it.
    """
    if kept == heads:
        return 0.0
    return 1.0 if kept == 0 else (heads - kept - 0.5) / (heads - 1)


def write_adapter_weights(mask: HeadMask) -> bytes:
    """`adapter_weights.tsv`, from which the fork keeps exactly the mask's heads.

    The fork adds noise below 1e-6 to every score and cuts at a quantile. Where the kept heads are
    no clear cut of the scores (edits by hand, ties), the scores are spread: s becomes
    s (1 - gap) / 2 for a compressed head and 1 - (1 - s) (1 - gap) / 2 for a kept one. Reading
    them here undoes that.
    """
    scores = mask.scores.astype(np.float64)
    kept = mask.kept
    worst, best = scores[kept].min(initial=2.0), scores[~kept].max(initial=-1.0)
    spread = not worst - best > 1e-5
    sparsity = round(fork_sparsity(int(kept.sum()), kept.size), 6)
    config = {**_comment(mask), "rlkv_sparsity": sparsity, "spread": spread}
    if spread:
        half = (1.0 - GAP) / 2
        scores = np.where(kept, 1.0 - (1.0 - scores) * half, scores * half)
    return _written(scores, config, "%.12g" if spread else "%.9g")


def unspread(scores: Table, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> Table:
    """The inverse of the spreading in `write_adapter_weights`."""
    half = (1.0 - GAP) / 2
    return np.where(kept, 1.0 - (1.0 - scores) / half, scores / half)


def _comment(mask: HeadMask) -> dict[str, Any]:
    """What the scores alone do not say."""
    return {
        "sink": mask.sink, "recent": mask.recent, "model": mask.model, "revision": mask.revision,
        "name": mask.name, "kept": ["".join("01"[int(k)] for k in row) for row in mask.kept],
    }  # fmt: skip


def _written(scores: np.ndarray[Any, Any], comment: dict[str, Any], digits: str) -> bytes:
    table = io.StringIO()
    table.write(f"{MARK}{json.dumps(comment)}\n")
    np.savetxt(table, scores, delimiter="\t", fmt=digits)
    return table.getvalue().encode()
