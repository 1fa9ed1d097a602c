"""How far elimination is, kept beside the checkpoints so that a killed job goes on there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from rlkv.files import write_whole

FILE = "elimination.json"


class RemovedHeads:
    """The heads that were removed so far, in order, as flat indices; of one set of gates."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def read(self, learned: torch.Tensor) -> list[int]:
        """What was kept of an elimination that began from these gates `[layers, kv_heads]`."""
        try:
            kept = json.loads(self.path.read_text())
            same = kept["gates"] == _digest(learned)
            removed = [int(head) for head in kept["removed"]] if same else []
        except (OSError, ValueError, TypeError, KeyError):
            return []  # none yet, or torn by a power cut: it begins anew
        whole = len({*removed}) == len(removed) and {*removed} <= {*range(learned.numel())}
        return removed if whole else []

    def write(self, learned: torch.Tensor, removed: Sequence[int]) -> None:
        """Keeps them."""
        kept = {"gates": _digest(learned), "removed": list(removed)}
        write_whole(self.path, json.dumps(kept))


def _digest(gates: torch.Tensor) -> str:
    data = gates.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes()
    return hashlib.sha256(data).hexdigest()
