"""Scores of heads by other methods: KVzip's, and the like, as JSON, .npy, .safetensors or .tsv.

KVzip keeps, for each text, the largest attention that a head pays when the model repeats that text:
a table layers x KV heads in a .pt file, which is a pickle and never opened here. The largest over
the texts counts, as in KVzip's own loader. Scores of another scale than [0, 1] are moved there as a
whole, since only their order decides what is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlkv.errors import UserError
from rlkv.mask_files.json_text import read_json
from rlkv.mask_files.limits import MAX_HEADS, Table, require_finite, require_shape
from rlkv.mask_files.npy import read_npy
from rlkv.mask_files.parsed import Parsed
from rlkv.mask_files.safetensors_table import read_safetensors

_HEAD = re.compile(r"(\d{1,4})[-.](\d{1,4})")
FORM = "table of head scores"
SLACK = 0.05
"""How far beyond [0, 1] values are clipped as gates; further out it is another scale."""
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt", ".pickle")


def refuse_pickle(name: str) -> UserError:
    """What to tell who brings a pickle."""
    return UserError(
        f"'{name}' is a Python pickle, which can run any code when opened, so it is not read here. "
        "If you trust it, convert it: python -c \"import torch, numpy; numpy.save('scores.npy', "
        f"torch.load('{name}', map_location='cpu', weights_only=True).float().squeeze().numpy())\""
    )


def from_npy(data: bytes, name: str) -> Parsed:
    """An array [layers, kv_heads], or [texts, layers, kv_heads]."""
    return _parsed(read_npy(data, f"{name}.npy"), name)


def from_safetensors(data: bytes, name: str) -> Parsed:
    """A safetensors file by itself: scores without a window."""
    return _parsed(read_safetensors(data, f"{name}.safetensors"), name)


def from_json(data: bytes, name: str) -> Parsed:
    """A nested list, {"scores": nested list}, or {"LAYER-HEAD": score or list of scores}.

    Raises:
        UserError: if it is none of them.
    """
    value = read_json(data, f"{name}.json")
    model = ""
    if isinstance(value, dict) and "scores" in value:
        model = str(value.get("model", ""))
        value = value["scores"]
    table = _from_pairs(value, name) if isinstance(value, dict) else _from_rows(value, name)
    return _parsed(table, name, model)


def _parsed(table: Table, name: str, model: str = "") -> Parsed:
    scores = np.asarray(table, dtype=np.float64)
    if scores.ndim > 2:  # axes of length one come from tensors of a batch
        scores = scores.reshape([n for n in scores.shape if n != 1] or [1])
    if scores.ndim == 3:
        scores = scores.max(axis=0)
    require_shape(scores.shape)
    require_finite(scores)
    low, high = float(scores.min()), float(scores.max())
    if low >= -SLACK and high <= 1 + SLACK:
        return Parsed(FORM, scores, name=name, model=model)
    note = f"scores from {low:.4g} to {high:.4g} were moved to [0, 1]; their order stays"
    half = scores / 2 - low / 2  # halves: the range itself may be too large for a float
    span = high / 2 - low / 2
    moved = half / span if span > 0 else np.ones_like(scores)
    return Parsed(FORM, moved, name=name, model=model, info={"notes": [note]})


def _from_rows(value: object, name: str) -> Table:
    try:
        table = np.array(value, dtype=np.float64) if isinstance(value, list) else None
    except (ValueError, TypeError, OverflowError):
        table = None
    if table is None or table.size > MAX_HEADS:
        raise UserError(f"'{name}' is not a table of head scores: a list of rows, one a layer.")
    return table


def _from_pairs(value: Mapping[str, Any], name: str) -> Table:
    """{"LAYER-HEAD": score, or the scores of several texts}; every head has to be there."""
    found: dict[tuple[int, int], float] = {}
    for key, score in value.items():
        match = _HEAD.fullmatch(key)
        number = _largest(score)
        if match is None or number is None:
            raise UserError(
                f"'{name}' is not a table of head scores: keys such as \"12-3\" (layer-head) with "
                f"numbers are needed, not {key[:30]!r}."
            )
        found[int(match[1]), int(match[2])] = number
    layers = 1 + max((layer for layer, _ in found), default=-1)
    heads = 1 + max((head for _, head in found), default=-1)
    if not found or len(found) != layers * heads:
        raise UserError(
            f"'{name}' names {len(found)} heads, but {layers} layers x {heads} heads have "
            f"{layers * heads}."
        )
    return np.array([[found[layer, head] for head in range(heads)] for layer in range(layers)])


def _largest(score: object) -> float | None:
    numbers = score if isinstance(score, Sequence) and not isinstance(score, str) else [score]
    ok = [n for n in numbers if isinstance(n, int | float) and not isinstance(n, bool)]
    return float(max(ok)) if ok and len(ok) == len(numbers) else None
