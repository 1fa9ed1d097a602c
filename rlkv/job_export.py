"""What a job told, as a file for other programs: metrics as CSV.

Knows numbers, no database and no screen.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

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


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))
