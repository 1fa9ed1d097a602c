"""Hardening: how soft gates become the ranking of a binary mask while they are trained.

Soft gates of 0.3 to 0.5 earn reward that the deployed mask, which knows only 0 and 1, does not.
Ours, not the paper's; docs/results.md compares the ways.
"""

from __future__ import annotations

from rlkv.cuts import kept_count
from rlkv.gates import Gates
from rlkv.training.config import TrainConfig

BEGIN, END = 0.2, 0.74
"""Shares of the steps between which the mix sharpens."""
SHARPEST = 8.0
SHRUNK = 0.6
"""Share of the steps after which straight-through gates act at the sparsity aimed for."""


def harden(gates: Gates, config: TrainConfig, step: int) -> None:
    """Sets how the gates act in the step after `step` steps were made."""
    if config.hardening == "anneal":
        progress = _progress(step, BEGIN * config.steps, END * config.steps)
        gates.sharpness = 1.0 + (SHARPEST - 1.0) * progress
        # Around 0.5 and not around the cut of the mask aimed for: forced to a sparsity that the
        # ranking is not good enough for yet, the reward dies and nothing is learned any more.
    elif config.hardening == "straight-through":
        progress = _progress(step, 0.0, SHRUNK * config.steps)
        gates.kept = kept_count(gates.values.numel(), config.target_sparsity * progress)


def settle(gates: Gates) -> None:
    """After an optimiser step: the values are in [0, 1], and share out what a mask may keep."""
    gates.clamp_()
    if gates.kept is not None:
        # The sparsity is given, so there is nothing to press for: a common fall of all gates
        # would only end with all of them at 0, where none is better than another.
        gates.balance_(gates.kept / gates.values.numel())


def _progress(step: int, begin: float, end: float) -> float:
    return min(max((step - begin) / (end - begin), 0.0), 1.0)
