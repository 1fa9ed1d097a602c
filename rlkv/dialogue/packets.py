"""Frames on their way from one process to another: each carries only the tokens that are new.

A frame holds all tokens so far: sent whole, frames would cost the square of an answer's length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rlkv.dialogue.frame import Frame, Tokens, TokenSeen


@dataclass(frozen=True)
class Packet:
    """A frame without its tokens, and those that the packet before did not have."""

    frame: Frame
    new: tuple[tuple[TokenSeen, ...], ...]
    """One entry a side."""


class Packer:
    """Makes packets of the frames of one answer, in order."""

    def __init__(self) -> None:
        self._sent: list[int] = []

    def pack(self, frame: Frame) -> Packet:
        """The packet of the next frame."""
        sent = self._sent or [0] * len(frame.sides)
        new = tuple(side.tokens[n:] for side, n in zip(frame.sides, sent, strict=True))
        self._sent = [side.n_tokens for side in frame.sides]
        bare = tuple(replace(side, tokens=Tokens([], 0)) for side in frame.sides)
        return Packet(replace(frame, sides=bare), new)


class Unpacker:
    """Makes the frames of one answer of its packets, in order."""

    def __init__(self) -> None:
        self._tokens: list[list[TokenSeen]] = []

    def unpack(self, packet: Packet) -> Frame:
        """The next frame, as it was packed."""
        self._tokens = self._tokens or [[] for _ in packet.new]
        sides = []
        for side, grown, new in zip(packet.frame.sides, self._tokens, packet.new, strict=True):
            grown.extend(new)
            sides.append(replace(side, tokens=Tokens(grown, len(grown))))
        return replace(packet.frame, sides=tuple(sides))
