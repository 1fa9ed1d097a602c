"""Checkpoints of gate training: gates, optimiser, random state; never the model's weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from rlkv.errors import UserError
from rlkv.gates import Gates

GATES_FILE = "gates.safetensors"
_COMPLETE = "complete"


def save_gates(gates: Gates, folder: Path, largest_gap: float = 0.0) -> None:
    """Writes the gates `[layers, kv_heads]` into a checkpoint folder.

    `largest_gap` is what the job has seen of it so far (`GateTrainer.largest_gap`).

    Raises:
        ValueError: if a gate is not a finite number; whoever trains has to look before.
    """
    if not torch.isfinite(gates.values).all():
        raise ValueError("a gate is not a finite number; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    values = gates.values.detach().cpu().contiguous()
    gap = torch.tensor(largest_gap, dtype=torch.float64)
    save_file({"gates": values, "largest_gap": gap}, folder / GATES_FILE)


def load_gates(gates: Gates, folder: Path) -> float:
    """Reads them back; returns the largest gap seen until then.

    Raises:
        UserError: if the checkpoint is of a model of another shape.
    """
    saved = load_file(folder / GATES_FILE)
    values = saved["gates"]
    if values.shape != gates.values.shape:
        raise UserError(
            f"The checkpoint has gates {tuple(values.shape)}, the model needs "
            f"{tuple(gates.values.shape)}: start a new job."
        )
    with torch.no_grad():
        gates.values.copy_(values)
    return float(saved.get("largest_gap", torch.tensor(0.0)))


def mark_complete(folder: Path) -> None:
    """Says that everything of a checkpoint is on disk; until then it does not count."""
    # In this order through a power cut too: the mark must not be there without the rest.
    for path in sorted(folder.iterdir()):
        _sync(path)
    _sync(folder)
    (folder / _COMPLETE).touch()
    _sync(folder)


def remove_torn(folder: Path) -> None:
    """Removes what a killed worker left of a checkpoint that it had not finished."""
    for path in folder.glob("checkpoint-*"):
        if not (path / _COMPLETE).is_file():
            shutil.rmtree(path)


def latest(folder: Path) -> tuple[Path, int] | None:
    """The newest complete checkpoint in a job's folder and its step, if there is one."""
    found = [p for p in folder.glob("checkpoint-*") if (p / _COMPLETE).is_file()]
    if not found:
        return None
    newest = max(found, key=_step)
    return newest, _step(newest)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows can't open a folder
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
