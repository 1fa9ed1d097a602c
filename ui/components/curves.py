"""Training curves as a value of our charts. Knows names of series, no jobs."""

from __future__ import annotations

import math

from ui.components.charts import Role, Value, line, lines_value

Points = list[tuple[int, float]]
LINES: tuple[tuple[str, str, Role], ...] = (
    ("reward", "Reward as trained", "reward"),
    ("gate_mean", "Mean gate", "full"),
    ("sparsity", "Sparsity", "comp"),
)
DEPLOYED = ("reward_hard", "Reward as deployed")
"""Under the binary mask of that step; measured every few steps only, so its points are marked."""

SERIES = [*(name for name, _, _ in LINES), DEPLOYED[0]]


def training_curves(series: dict[str, Points], total: int) -> Value:
    """Reward (raw, faint, behind its running mean), mean gate and sparsity over the steps.

    The reward as deployed is drawn with markers wherever there are any points of it.
    """
    drawn = []
    for name, title, role in LINES:
        points = _finite(series, name)
        if name == "reward":
            drawn.append(line(f"{title}, each step", role, points, faint=True))
            points = running_mean(points)
        drawn.append(line(title, role, points))
    if deployed := _finite(series, DEPLOYED[0]):
        drawn.append(line(DEPLOYED[1], "reward", deployed, dots=True))
    return lines_value(
        "Over the steps",
        drawn,
        x="step",
        x_range=(0, max(total, 1)),
        range=(0.0, 1.0),
        name="training",
        height=250,
    )


def running_mean(points: Points, weight: float = 0.85) -> Points:
    """Exponential running mean, corrected for its start."""
    smooth: Points = []
    total, mass = 0.0, 0.0
    for step, value in points:
        total = weight * total + value
        mass = weight * mass + 1.0
        smooth.append((step, total / mass))
    return smooth


def _finite(series: dict[str, Points], name: str) -> Points:
    return [(x, y) for x, y in series.get(name, []) if math.isfinite(y)]
