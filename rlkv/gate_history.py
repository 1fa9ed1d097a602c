"""The gates of one training over its steps: what the time slider plays. Knows numbers only."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlkv.errors import UserError

FILE = "training.npz"
"""Its name beside the files of a mask."""
MAX_BYTES = 20_000_000


@dataclass(frozen=True, eq=False)
class GateHistory:
    """Gates and rewards after some steps of a training, in the order of the steps."""

    steps: NDArray[np.int64]
    """`[n]`."""
    gates: NDArray[np.float32]
    """`[n, layers, kv_heads]`."""
    rewards: NDArray[np.float32]
    """Mean reward of each step's answers `[n]`; NaN where it is not known."""

    @classmethod
    def of(
        cls,
        snapshots: Iterable[tuple[int, bytes]],
        shape: tuple[int, int],
        rewards: Sequence[tuple[int, float]] = (),
    ) -> GateHistory:
        """From what a job's database holds: (step, gates as little-endian float32) and rewards."""
        size = shape[0] * shape[1]
        found = [(step, gates) for step, gates in snapshots if len(gates) == 4 * size]
        known = dict(rewards)
        steps = [step for step, _ in found]
        tables = [np.frombuffer(data, "<f4").reshape(shape) for _, data in found]
        return cls(
            np.array(steps, dtype=np.int64),
            np.array(tables, dtype=np.float32).reshape(len(found), *shape),
            np.array([known.get(step, np.nan) for step in steps], dtype=np.float32),
        )

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, kv_heads)."""
        return self.gates.shape[1], self.gates.shape[2]

    def thinned(self, most: int) -> GateHistory:
        """At most `most` of its steps, evenly chosen, first and last among them."""
        if len(self) <= most:
            return self
        at = np.unique(np.linspace(0, len(self) - 1, most).round().astype(int))
        return GateHistory(self.steps[at], self.gates[at], self.rewards[at])

    def to_npz(self) -> bytes:
        """A file that numpy.load reads: `steps`, `gates`, `rewards`."""
        file = io.BytesIO()
        np.savez_compressed(file, steps=self.steps, gates=self.gates, rewards=self.rewards)
        return file.getvalue()

    @classmethod
    def load(cls, path: Path) -> GateHistory:
        """Reads such a file; nothing in it is unpickled.

        Raises:
            UserError: if it is no such file, or its tables do not fit each other.
        """
        try:
            if path.stat().st_size > MAX_BYTES:
                raise UserError(f"'{path.name}' is larger than any training's gates.")
            with np.load(path, allow_pickle=False) as file:
                found = cls(file["steps"], file["gates"], file["rewards"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"'{path.name}' does not hold the gates of a training.") from error
        count = found.steps.shape
        if found.gates.ndim != 3 or found.gates.shape[:1] != count or found.rewards.shape != count:
            raise UserError(f"'{path.name}': its steps, gates and rewards do not fit each other.")
        return found
