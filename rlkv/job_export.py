"""What a job told, as files for other programs: metrics as CSV, gates as .npz.

Knows numbers, no database and no screen.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Series = Mapping[str, Sequence[tuple[int, float]]]
ALL = 2**31
"""More points than a curve can have."""


def metrics_csv(series: Series) -> str:
    """A row per step and a column per metric, by name; empty where there is no number.

    Numbers are written so that reading them gives the very same ones.
    """
    names = sorted(series)
    rows: dict[int, dict[str, float]] = {}
    for name in names:
        for step, value in series[name]:
            rows.setdefault(step, {})[name] = value
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["step", *names])
    for step in sorted(rows):
        table.writerow([step, *(_cell(rows[step].get(name)) for name in names)])
    return text.getvalue()


def gates_npz(snapshots: Iterable[tuple[int, bytes]], shape: tuple[int, int]) -> bytes:
    """`steps` int64 `[n]` and `gates` float32 `[n, layers, kv_heads]`; numpy.load reads them.

    `shape` is (layers, kv_heads); each snapshot holds float32, little endian, row-major.
    """
    found = list(snapshots)
    gates = [np.frombuffer(data, "<f4").reshape(shape) for _, data in found]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        steps=np.array([step for step, _ in found], dtype=np.int64),
        gates=np.array(gates, dtype=np.float32).reshape(len(found), *shape),
    )
    return file.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))
