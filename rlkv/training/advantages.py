"""How a reward becomes an advantage (arXiv 2510.08525, equation 3, and the paper's release)."""

from __future__ import annotations

from typing import Literal

import torch

TINY = 1e-5


def batch_advantages(rewards: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Rewards `[N]` against mean and deviation of the whole batch, each token one vote.

    As in the paper's release: a problem whose samples all earn the same still counts. `tokens`
    `[N]` are the lengths of the answers.
    """
    weight = tokens.to(rewards.dtype)
    total = weight.sum()
    mean = (rewards * weight).sum() / total
    variance = ((rewards - mean) ** 2 * weight).sum() / (total - 1).clamp(min=1)
    return (rewards - mean) / (variance.sqrt() + TINY)


def says_something(
    rewards: torch.Tensor, samples: int, advantages: Literal["group", "batch"]
) -> bool:
    """Whether any advantage differs from zero, so that the reward has a gradient."""
    groups = rewards.view(-1, samples) if advantages == "group" else rewards[None]
    return bool((groups.amax(1) > groups.amin(1)).any())
