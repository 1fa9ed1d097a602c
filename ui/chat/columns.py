"""What a side has written, as columns: one list a quantity, one entry a token.

This is what travels to the browser while an answer is written, what a conversation keeps for its
replay, and what the figures of a finished answer are read off. Plain values only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlkv.dialogue import SideState

NAMES = ("t", "p", "k", "b", "f", "l", "at")
"""Text, probability, KL, measured bytes, bytes by the formula, tokens in the cache, seconds."""


@dataclass
class Columns:
    """The tokens of one side; grows with every frame."""

    t: list[str] = field(default_factory=list)
    p: list[float] = field(default_factory=list)
    """Probability of the token under its own side."""
    k: list[float | None] = field(default_factory=list)
    """KL(first side || this side) in nats where both had read the same."""
    b: list[int] = field(default_factory=list)
    """KV bytes, measured after the token was drawn."""
    f: list[int] = field(default_factory=list)
    """KV bytes by the formula."""
    l: list[int] = field(default_factory=list)  # noqa: E741 - the name that the browser reads
    """Tokens in the cache."""
    at: list[float] = field(default_factory=list)
    """Seconds since the answer was begun, pauses for reading left out."""

    def add(self, state: SideState, seconds: float) -> None:
        """Takes over what a snapshot has more than is here."""
        for token in state.tokens[len(self.t) :]:
            self.t.append(token.text)
            self.p.append(_short(token.probability))
            self.k.append(None if token.kl is None else _short(token.kl))
            self.b.append(state.kv_bytes)
            self.f.append(state.kv_bytes_formula)
            self.l.append(state.length)
            self.at.append(round(seconds, 3))

    def since(self, begin: int) -> dict[str, list[Any]]:
        """The entries from `begin` on, by column."""
        return {name: getattr(self, name)[begin:] for name in NAMES}


def figures(state: SideState) -> dict[str, Any]:
    """What the page says of a side, exactly as the engine reports it."""
    shown: dict[str, Any] = {
        "tokens": state.n_tokens,
        "prompt": state.prompt_tokens,
        "reused": state.reused_tokens,
        "length": state.length,
        "bytes": state.kv_bytes,
        "formula": state.kv_bytes_formula,
        "first": state.first_token_seconds,
        "seconds": state.seconds,
        "speed": state.tokens_per_second,
        "stop": state.stop_reason,
    }
    if state.is_reading:
        shown["reading"] = [state.length, state.to_read]
    return shown


def _short(value: float) -> float:
    """Six significant digits: more than anybody reads, few enough to send."""
    return float(f"{value:.6g}")
