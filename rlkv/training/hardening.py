"""Hardening: how soft gates become the ranking of a binary mask while they are trained.

Soft gates of 0.3 to 0.5 earn reward that the deployed mask, which knows only 0 and 1, does not.
Ours, not the paper's; docs/results.md compares the ways.
"""

from __future__ import annotations

from rlkv.gates import Gates
from rlkv.masks import kept_count
from rlkv.training.config import TrainConfig

BEGIN, END = 0.2, 0.74
"""Shares of the steps between which gates harden: soft before, as hard as they get after."""
SHARPEST = 8.0


def harden(gates: Gates, config: TrainConfig, step: int) -> None:
    """Sets how the gates act in the step after `step` steps were made."""
    begin, end = BEGIN * config.steps, END * config.steps
    progress = min(max((step - begin) / (end - begin), 0.0), 1.0)
    if config.hardening == "anneal":
        gates.sharpness = 1.0 + (SHARPEST - 1.0) * progress
    elif config.hardening == "straight-through":
        gates.kept = kept_count(gates.values.numel(), config.target_sparsity * progress)
