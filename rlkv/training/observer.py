"""Whoever watches a training: the worker, the command line, a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

STOPPED_IN = "stopped_in"
"""In a mask's info: the phase after the training in which its job was stopped."""


class Observer(Protocol):
    """Whoever wants to know how a job goes, and may stop it."""

    def event(self, text: str) -> None:
        """A line for the log: a phase begins, a checkpoint is used."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Which part of the job it is in, and how far: "sampling", "training", "elimination" or
        "measuring"."""

    def resumed(self, step: int) -> None:
        """Training goes on after `step`; whatever was reported beyond it will come again."""

    def step(self, step: int, metrics: Mapping[str, float], gates: NDArray[np.float32]) -> None:
        """An optimiser step is done; `gates` is `[layers, kv_heads]`."""

    def should_stop(self) -> bool:
        """Asked often; True ends the job after the current step, keeping what it learned."""
