"""How many tokens each row of a batch holds: worked out once per pass, used by all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from rlkv.baselines.budget import Budget
from rlkv.clock import Clock

Keeps = Callable[[int, int], int]
"""Tokens that a head keeps of those it has, given its budget."""


@dataclass(frozen=True)
class Pass:
    """What one forward pass brings to each row, and what is left of it afterwards."""

    new: int
    """Columns of the pass, T."""
    padding: Sequence[int]
    """How many of them stand before the row's first real token."""
    length: Sequence[int]
    """Real tokens seen, the new ones included."""
    before: Sequence[int]
    """Tokens that every head held before."""
    total: Sequence[int]
    """Tokens that it attends to: those held before and the new ones."""
    budget: Sequence[int]
    after: Sequence[int]
    """Tokens that it holds afterwards."""
    device: torch.device

    @cached_property
    def columns(self) -> int:
        """Columns of the longest row, held and new tokens side by side."""
        return max(1, *self.total)

    @cached_property
    def even(self) -> bool:
        """Whether all rows hold as many tokens and none has padding among the new ones."""
        return not any(self.padding) and len(set(self.before)) == 1

    @cached_property
    def evicting(self) -> list[int]:
        """Rows that drop tokens."""
        return [r for r, total in enumerate(self.total) if self.after[r] < total]

    @cached_property
    def befores(self) -> torch.Tensor:
        """`before` as a tensor `[B]`."""
        return torch.tensor(self.before, device=self.device)

    @cached_property
    def paddings(self) -> torch.Tensor:
        """`padding` as a tensor `[B]`."""
        return torch.tensor(self.padding, device=self.device)

    @cached_property
    def totals(self) -> torch.Tensor:
        """`total` as a tensor `[B]`."""
        return torch.tensor(self.total, device=self.device)

    @cached_property
    def afters(self) -> torch.Tensor:
        """`after` as a tensor `[B]`."""
        return torch.tensor(self.after, device=self.device)

    @cached_property
    def lengths(self) -> torch.Tensor:
        """`length` as a tensor `[B]`."""
        return torch.tensor(self.length, device=self.device)

    @cached_property
    def joined(self) -> torch.Tensor | None:
        """Where column s of a row's tokens stands, `[B, columns]`, among slots and new ones.

        The slots come first, as many as the longest row held; None if nothing has to move.
        """
        if self.even:
            return None
        slots = max(self.before)
        column = torch.arange(self.columns, device=self.device)
        shift = (slots + self.paddings - self.befores)[:, None]
        index = torch.where(column < self.befores[:, None], column, column + shift)
        return index.clamp(max=slots + self.new - 1)

    @cached_property
    def filled(self) -> torch.Tensor:
        """Which columns hold a token after the new ones have come, bool `[B, columns]`."""
        column = torch.arange(self.columns, device=self.device)
        return column < self.totals[:, None]

    def visible(self, begin: int, end: int) -> torch.Tensor:
        """Columns that the new tokens from `begin` to `end` see, bool `[B, 1, T, columns]`."""
        query = torch.arange(begin, end, device=self.device)
        last = self.befores[:, None] + query - self.paddings[:, None]
        # A padding query sees column 0: an empty row of a softmax is NaN on some kernels.
        column = torch.arange(self.columns, device=self.device)
        return (column <= last.clamp(min=0)[..., None])[:, None]


class Occupancy:
    """Tokens held by each row, the same in every head of every layer."""

    def __init__(self, clock: Clock, budget: Budget, keeps: Keeps) -> None:
        self._clock, self._budget, self._keeps = clock, budget, keeps
        self.reset()

    def reset(self) -> None:
        """Back to before the first token."""
        self.held: list[int] = []
        self._seen = 0
        self._pass: Pass | None = None

    def select(self, rows: Sequence[int]) -> None:
        """Follows a selection of batch rows."""
        self.held = [self.held[row] for row in rows]

    def advance(self, seen: int, new: int, rows: int, device: torch.device) -> Pass:
        """The pass that ends at column `seen`; the first layer to ask makes it happen."""
        if self._pass is None or seen != self._seen:
            self._seen = seen
            self._pass = self._advanced(seen, new, rows, device)
            self.held = list(self._pass.after)
        return self._pass

    def _advanced(self, seen: int, new: int, rows: int, device: torch.device) -> Pass:
        starts = self._clock.starts or [0] * rows
        length = [max(seen - start, 0) for start in starts]
        before = self.held or [0] * rows
        padding = [new - min(n, new) for n in length]
        total = [b + new - p for b, p in zip(before, padding, strict=True)]
        budget = [self._budget(n) for n in length]
        after = [self._keeps(*pair) for pair in zip(total, budget, strict=True)]
        return Pass(new, padding, length, before, total, budget, after, device)
