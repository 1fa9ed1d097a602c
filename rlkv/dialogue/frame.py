"""What can be seen of a conversation after every round: snapshots that never change.

Knows numbers and texts only: no torch, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

from rlkv.masks import HeadMask

StopReason = Literal["end", "length", "repetition", "stopped", "memory"]
Candidate = tuple[int, str]
"""Id and text of a token; an end token has its name as its text."""
Probabilities = tuple[float | None, float | None]


@dataclass(frozen=True)
class TokenSeen:
    """One token of an answer."""

    text: str
    """What it added to the text shown: "" for an end token, and for all but the last of the
    tokens that make up one character."""
    id: int
    probability: float
    """Of this token under this side, at temperature 1 and before top-p."""
    kl: float | None
    """KL(side 0 || this side) in nats of the distributions that this token was drawn from, while
    both sides had read the same until here; else None. None for side 0."""


class Tokens(Sequence[TokenSeen]):
    """The first `length` of a list that only grows: a snapshot without a copy."""

    __slots__ = ("_grown", "_length")

    def __init__(self, grown: list[TokenSeen], length: int) -> None:
        self._grown, self._length = grown, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> TokenSeen: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TokenSeen, ...]: ...
    def __getitem__(self, index: int | slice) -> TokenSeen | tuple[TokenSeen, ...]:
        if isinstance(index, slice):
            return tuple(self._grown[i] for i in range(*index.indices(self._length)))
        return self._grown[range(self._length)[index]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self[:] == other[:]

    def __hash__(self) -> int:
        return hash(self[:])

    def __repr__(self) -> str:
        return f"Tokens({list(self[:])!r})"


@dataclass(frozen=True)
class Break:
    """A change of mask during an answer."""

    at: int
    """Tokens written when it was made."""
    length: int
    """Tokens that were read again under the new mask, prompt included."""
    mask: HeadMask | None
    seconds: float
    """Time of that reading; not part of the decode time."""


@dataclass(frozen=True)
class SideState:
    """One side after a round."""

    text: str
    """The answer so far, special tokens left out. Begins with `<think>` where the model's chat
    template opens the thinking part itself."""
    tokens: Tokens
    n_tokens: int
    prompt_tokens: int
    reused_tokens: int
    """Tokens of the prompt that a `Keeper` still had in a cache, so that they were not read."""
    length: int
    """Tokens in the cache: the prompt and all but the last token written; while reading, those
    read so far."""
    kv_bytes: int
    """Measured bytes of keys and values."""
    kv_bytes_formula: int
    """Bytes of `length` tokens by the formula, without the room that stores keep to grow."""
    first_token_seconds: float
    """Own time from the first chunk of the prompt to the first token."""
    seconds: float
    """Own time of all further tokens, without reading again after a change of mask."""
    stop_reason: StopReason | None
    """None while running; "memory" if the machine has no room for more."""
    breaks: tuple[Break, ...]

    @property
    def tokens_per_second(self) -> float:
        """Decode speed; 0 before the second token.

        The token after a change of mask comes from reading again, and is not counted.
        """
        read_again = {one.at for one in self.breaks if 0 < one.at < self.n_tokens}
        decoded = self.n_tokens - 1 - len(read_again)
        return decoded / self.seconds if self.seconds else 0.0

    @property
    def to_read(self) -> int:
        """Tokens that a cache of this prompt and text holds; while reading `length` is below."""
        return self.prompt_tokens + max(self.n_tokens - 1, 0)

    @property
    def is_reading(self) -> bool:
        """Whether the prompt, or after a change of mask all of it, is still being read."""
        return self.stop_reason is None and self.length < self.to_read


@dataclass(frozen=True)
class Difference:
    """Where a side's answer first parts from side 0's."""

    side: int
    at: int
    """Tokens that both have in common: the index of the first differing one."""
    tokens: tuple[Candidate | None, Candidate | None]
    """Side 0's candidate and this side's; None for a side that had ended there."""
    probabilities: tuple[Probabilities, Probabilities] | None
    """Both candidates under side 0, then both under this side, at temperature 1. None where the
    two have not read the same, because earlier answers already differed; None within for a side
    that had ended, or a candidate that there is not."""


@dataclass(frozen=True)
class Frame:
    """All sides after a round."""

    sides: tuple[SideState, ...]
    differences: tuple[Difference | None, ...]
    """One a side; None for side 0, and while a side has written the same as side 0."""

    def common_prefix(self, side: int) -> int:
        """Tokens that a side's answer has in common with side 0's from the start."""
        difference = self.differences[side]
        if difference is not None:
            return difference.at
        return min(self.sides[0].n_tokens, self.sides[side].n_tokens)
