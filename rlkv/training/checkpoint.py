"""Checkpoints of gate training: gates, optimiser, random state; never the model's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from rlkv.errors import UserError
from rlkv.gates import Gates

GATES_FILE = "gates.safetensors"
_COMPLETE = "complete"


def save_gates(gates: Gates, folder: Path) -> None:
    """Writes the gates `[layers, kv_heads]` into a checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"gates": gates.values.detach().cpu().contiguous()}, folder / GATES_FILE)


def load_gates(gates: Gates, folder: Path) -> None:
    """Reads them back.

    Raises:
        UserError: if the checkpoint is of a model of another shape.
    """
    values = load_file(folder / GATES_FILE)["gates"]
    if values.shape != gates.values.shape:
        raise UserError(
            f"The checkpoint has gates {tuple(values.shape)}, the model needs "
            f"{tuple(gates.values.shape)}: start a new job."
        )
    with torch.no_grad():
        gates.values.copy_(values)


def mark_complete(folder: Path) -> None:
    """Says that everything of a checkpoint is on disk; until then it does not count."""
    (folder / _COMPLETE).touch()


def latest(folder: Path) -> tuple[Path, int] | None:
    """The newest complete checkpoint in a job's folder and its step, if there is one."""
    found = [p for p in folder.glob("checkpoint-*") if (p / _COMPLETE).is_file()]
    if not found:
        return None
    newest = max(found, key=_step)
    return newest, _step(newest)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
