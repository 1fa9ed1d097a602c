"""Our own files: the scores as safetensors, everything else as JSON, the scores again as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rlkv.errors import UserError
from rlkv.mask_files.json_text import read_object
from rlkv.mask_files.limits import (
    CONFIG,
    GATES,
    MAX_WINDOW,
    PAPER_TSV,
    SCHEMA,
    TSV,
    Table,
    require_shape,
)
from rlkv.mask_files.parsed import Parsed
from rlkv.mask_files.safetensors_table import read_safetensors, write_safetensors
from rlkv.mask_files.tsv import read_tsv, unspread, write_tsv
from rlkv.mask_metrics import true_info

if TYPE_CHECKING:
    from rlkv.masks import HeadMask

Kept = np.ndarray[Any, np.dtype[np.bool_]]


def read_files(files: Mapping[str, bytes], name: str) -> Parsed:
    """A mask out of the files of one folder, by their names.

    Raises:
        UserError: if they hold none, or something is wrong with them.
    """
    config = read_object(files[CONFIG], CONFIG) if CONFIG in files else {}
    if GATES in files and CONFIG in files:
        return _own(read_safetensors(files[GATES], GATES), config, name)
    for file in (TSV, PAPER_TSV):
        if file in files and "schema" in config:
            return _own(read_tsv(files[file], file)[0], config, name)
        if file in files:
            return from_tsv(files[file], name, config, paper=file == PAPER_TSV)
    raise UserError(f"'{name}' holds no mask: {GATES} with {CONFIG}, or {TSV}, is needed.")


def from_tsv(
    data: bytes, name: str, config: Mapping[str, Any] | None = None, *, paper: bool = False
) -> Parsed:
    """DuoAttention's and RLKV's layout; `config` is DuoAttention's, where there is one."""
    scores, own = read_tsv(data, name)
    if own:
        return _from_comment(scores, own, name, paper)
    config = config or {}
    form = "RLKV gates" if paper else "DuoAttention pattern" if config else "table of scores"
    model = config.get("model_name")
    return Parsed(
        form,
        scores,
        sink=_first_int(config, "deploy_sink_size", "sink_size"),
        recent=_first_int(config, "deploy_recent_size", "recent_size"),
        model=model if isinstance(model, str) else "",
        name=name,
    )


def read_kept(rows: Any, shape: tuple[int, ...], where: str = CONFIG) -> Kept:
    """Rows such as "1101" to a table of booleans."""
    ok = (
        isinstance(rows, list)
        and len(rows) == shape[0]
        and all(isinstance(r, str) and re.fullmatch(f"[01]{{{shape[1]}}}", r) for r in rows)
    )
    if not ok:
        raise UserError(f"The kept heads in {where} do not fit a table of {shape}.")
    return np.array([[c == "1" for c in row] for row in rows], dtype=np.bool_)


def contents(mask: HeadMask) -> dict[str, bytes]:
    """The three files that hold a mask, by name."""
    config = {
        "schema": SCHEMA,
        "name": mask.name,
        "model": mask.model,
        "revision": mask.revision,
        "layers": mask.layers,
        "kv_heads": mask.kv_heads,
        "sink": mask.sink,
        "recent": mask.recent,
        # As DuoAttention's loaders spell them.
        "sink_size": mask.sink,
        "recent_size": mask.recent,
        "sparsity": round(mask.sparsity, 6),
        "kept": ["".join("1" if k else "0" for k in row) for row in mask.kept],
        "info": true_info(mask),
    }
    return {
        GATES: write_safetensors(mask.scores),
        CONFIG: (json.dumps(config, indent=2) + "\n").encode(),
        TSV: write_tsv(mask),
    }


def _own(scores: Table, config: Mapping[str, Any], name: str) -> Parsed:
    if config.get("schema") != SCHEMA:
        schema = str(config.get("schema"))[:20]
        raise UserError(f"'{name}' has mask schema {schema}; this version reads {SCHEMA}.")
    require_shape(scores.shape)
    info = config.get("info")
    return Parsed(
        "RLKV Studio mask",
        scores,
        read_kept(config.get("kept"), scores.shape),
        _window(config, "sink"),
        _window(config, "recent"),
        model=str(config.get("model", "")),
        revision=str(config.get("revision", "")),
        name=str(config.get("name", "")),
        info=info if isinstance(info, dict) else {},
    )


def _from_comment(scores: Table, config: Mapping[str, Any], name: str, paper: bool) -> Parsed:
    """A table as we write it, by itself."""
    require_shape(scores.shape)
    kept = read_kept(config.get("kept"), scores.shape, name)
    return Parsed(
        f"{'RLKV gates' if paper else 'table of scores'}, written by RLKV Studio",
        unspread(scores, kept) if config.get("spread") is True else scores,
        kept,
        _window(config, "sink"),
        _window(config, "recent"),
        model=str(config.get("model", "")),
        revision=str(config.get("revision", "")),
        name=str(config.get("name", "")) or name,
    )


def _window(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_WINDOW:
        raise UserError(f"{CONFIG} needs a whole number for '{key}', got {str(value)[:40]!r}.")
    return value


def _first_int(config: Mapping[str, Any], *keys: str) -> int | None:
    """The first of `keys` that holds a whole number; DuoAttention writes null where it has none."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < MAX_WINDOW:
                raise UserError(f"{CONFIG} says {key} = {value}; a window is 0 to {MAX_WINDOW}.")
            return value
    return None
