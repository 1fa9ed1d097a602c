"""The weight of the L1 penalty: adaptive, with a cut-off (arXiv 2510.08525, section 3.3)."""

from __future__ import annotations

import math


def penalty_weight(beta: float, cutoff: float, reward: float) -> float:
    """`beta (e^r - 1)` while the batch's mean reward r is above the cut-off, else 0.

    So a model that answers well is pressed harder, and one that fails is left alone.
    """
    return beta * math.expm1(reward) if reward > cutoff else 0.0
