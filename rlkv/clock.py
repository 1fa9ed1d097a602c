"""Where the rows of a batch stand: computed once per forward pass, used by all its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlkv.padding import Rows
from rlkv.streaming import StreamingWindow


@dataclass(frozen=True)
class Ring:
    """What to do with rings of one window in this pass."""

    held: int
    """Slots to attend to: filled after a decoded token, filled before a piece of a prompt."""
    slot: int | torch.Tensor
    """Where a decoded token goes, per row if rows differ; for a piece the columns of slots and
    piece that are held afterwards, `[B or 1, slots]`."""
    mask: torch.Tensor | None
    """bool, broadcastable to `[B, 1, T, columns]`; None if all is visible."""


class Clock:
    """Tokens seen and where each row began.

    A ring's slot s holds position s while s < sink, else the newest position that equals s
    modulo `recent`, counted from the first slot after the sinks.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to before the first token."""
        self.seen = 0
        self.starts: list[int] | None = None
        """Column of each row's first real token; None if no row is padded."""
        self.at: torch.Tensor | None = None
        """Position of the one new token `[1]` in a pass with fixed shapes, else None."""
        self._known = False
        self._rings: dict[object, Ring] = {}
        self._fixed: dict[object, torch.Tensor] = {}

    def tick(self, seen: int, length: int, mask: torch.Tensor | None) -> None:
        """Called by every layer of a pass with the tokens seen, `length` new ones included."""
        if seen == self.seen:
            return
        self.set_seen(seen)
        if not self._known:
            starts = None if mask is None else Rows.of(mask).starts
            self.starts = starts if starts is not None and any(starts) else None
            self._known = starts is None or max(starts) < seen  # each row has begun, for good

    def set_seen(self, seen: int) -> None:
        """Another pass: what was worked out for the last one is forgotten."""
        self.seen = seen
        self._rings = {}
        self._fixed = {}

    def fix(self, at: torch.Tensor | None) -> None:
        """Passes from now on have one token a row at position `at`; None ends it."""
        self.at = at
        self._fixed = {}

    def fixed_slot(self, window: StreamingWindow) -> torch.Tensor:
        """Where the token at `at` goes in a ring, `[1]`, worked out on the device."""
        assert self.at is not None
        if window not in self._fixed:
            turn = window.sink + (self.at - window.sink) % window.recent
            self._fixed[window] = torch.where(self.at < window.sink, self.at, turn)
        return self._fixed[window]

    def filled(self, slots: int) -> torch.Tensor:
        """Which of the first `slots` slots hold a token once that at `at` does, `[1, 1, 1, K]`."""
        assert self.at is not None
        if slots not in self._fixed:
            slot = torch.arange(slots, device=self.at.device)
            self._fixed[slots] = (slot <= self.at)[None, None, None]
        return self._fixed[slots]

    def select(self, rows: Sequence[int]) -> None:
        """Follows a selection of batch rows."""
        if self.starts is not None:
            self.starts = [self.starts[row] for row in rows]
        self._rings = {}

    @property
    def all_begun(self) -> bool:
        """Whether every row has a real token."""
        return self._known

    def decode(self, window: StreamingWindow, device: torch.device) -> Ring:
        """For one new token a row."""
        known = self._rings.get(window)
        if known is None:
            known = self._rings[window] = self._decode(window, device)
        return known

    def _decode(self, window: StreamingWindow, device: torch.device) -> Ring:
        sink, size = window.sink, window.sink + window.recent
        lengths = [self.seen - start for start in self.starts or [0]]
        held = min(max(lengths), size)
        slots = [n - 1 if n <= sink else sink + (n - 1 - sink) % window.recent for n in lengths]
        mask = None
        if min(lengths) < held:  # a shorter row has not filled its slots yet
            filled = torch.tensor(lengths, device=device)[:, None]
            mask = (torch.arange(held, device=device) < filled)[:, None, None]
        slot = slots[0] if len(set(slots)) == 1 else torch.tensor(slots, device=device)
        return Ring(held, slot, mask)

    def piece(
        self, window: StreamingWindow, before: int, length: int, device: torch.device
    ) -> Ring:
        """For `length` tokens of a prompt after `before` others."""
        key = (window, before)
        known = self._rings.get(key)
        if known is None:
            known = self._rings[key] = self._piece(window, before, length, device)
        return known

    def _piece(
        self, window: StreamingWindow, before: int, length: int, device: torch.device
    ) -> Ring:
        start = torch.tensor(self.starts or [0])[:, None]  # [B or 1, 1]
        old = _slot_positions(window, before - start)  # [B, slots], -1 where empty
        new = torch.arange(before, before + length) - start  # [B, T]
        position = torch.cat([old, new], dim=1)
        mask = window.visible(new[:, :, None], position[:, None, :])
        # A padding query sees itself: an empty row of a softmax is NaN on some kernels.
        mask[..., old.shape[1] :] |= torch.eye(length, dtype=torch.bool)
        after = _slot_positions(window, before + length - start)
        # In the piece, position p of a row stands `p - (before - start)` columns after its begin.
        column = torch.where(
            after >= before - start,
            old.shape[1] + after - (before - start),
            torch.arange(after.shape[1]),
        )
        column = torch.where(after < 0, 0, column)
        return Ring(old.shape[1], column.to(device), mask[:, None].to(device))


def _slot_positions(window: StreamingWindow, lengths: torch.Tensor) -> torch.Tensor:
    """Position held by each slot `[B, slots]` after `lengths` `[B, 1]` tokens; -1 if none."""
    held = min(max(int(lengths.max()), 0), window.sink + window.recent)
    slot = torch.arange(held)
    last = lengths - 1
    newest = slot + (last - slot).div(window.recent, rounding_mode="floor") * window.recent
    position = torch.where(slot < window.sink, slot, newest)
    return torch.where(slot <= last, position, -1)
