"""How many tokens a head may hold so that no more bytes are used than under a mask.

A split cache holds `2 * head_dim * itemsize * (kept * n + compressed * min(n, sink + recent))`
bytes at length n. A cache that drops tokens has the same number of tokens in every head, and
everything it keeps between steps is paid from these bytes:

    tokens(n) = floor((bytes(n) - heads * fixed) / (heads * (2 * head_dim * itemsize + state)))

where `state` are bytes kept for each token (scores, positions) and `fixed` bytes kept for each
head (recent queries).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rlkv.masks import HeadMask

Budget = Callable[[int], int]
"""Tokens that every head may hold at a length in tokens; never fewer at a greater length."""

LEAST = 4
"""Tokens that are always allowed: within the first few tokens of a text nothing would fit."""
ROUNDING = 128
"""Budgets above this are rounded down by less than 1/128, so that stores grow in fewer steps."""


@dataclass(frozen=True)
class EqualBytes:
    """The budget at which a row uses no more bytes than under a mask, from `LEAST` tokens on."""

    reference: HeadMask
    head_dim: int
    itemsize: int
    """Bytes of one number of keys and values."""
    state: int = 0
    """Bytes for each token and head besides its key and value."""
    fixed: int = 0
    """Bytes for each head whatever the length."""

    def __post_init__(self) -> None:
        # Asked for every row at every step, so what the mask has to count is counted once.
        heads, kept = self.reference.kept.size, self.reference.n_kept
        token = 2 * self.head_dim * self.itemsize
        object.__setattr__(self, "_numbers", (heads, kept, token))

    def __call__(self, length: int) -> int:
        heads, kept, token = self._numbers  # type: ignore[attr-defined]
        window = self.reference.sink + self.reference.recent
        allowed = token * (kept * length + (heads - kept) * min(length, window))
        fit = (allowed - heads * self.fixed) // (heads * (token + self.state))
        fit -= fit % max(1, fit // ROUNDING)
        return max(fit, LEAST)
