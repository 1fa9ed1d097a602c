"""The settings of DuoAttention's procedure; needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from rlkv.streaming import StreamingWindow

SMALL_VOCABULARY = 1000
"""A model with fewer tokens reads a language of its own (`passkeys.Definitions`)."""
CPU_LONGEST = 384
"""Tokens of the longest text on a CPU, where the published lengths would take weeks."""


class DuoSettings(BaseModel):
    """The defaults are those published (arXiv 2410.10819); `fitted` scales them down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=2000, ge=1, description="Optimiser steps of one text each")
    learning_rate: float = Field(
        default=0.02, gt=0, le=1, description="AdamW's, without weight decay"
    )
    penalty: float = Field(
        default=0.05, ge=0, description="Weight of the gates' mean absolute value"
    )
    warm_up: float = Field(
        default=0.2, ge=0, le=1, description="Share of the steps to the full rate"
    )
    decay: float = Field(default=0.2, ge=0, le=1, description="Share of the steps down from it")
    floor: float = Field(
        default=0.1, ge=0, le=1, description="Least share of the rate at either end"
    )
    passkeys: int = Field(default=10, ge=1, description="Passkeys in one text, each asked for once")
    passkey_words: int = Field(default=32, ge=1, description="Words of a passkey")
    lengths: int = Field(default=50, ge=1, description="Different lengths of texts, evenly spaced")
    shortest: int = Field(default=1000, ge=1, description="Tokens of the shortest text")
    longest: int = Field(
        default=32_000, ge=2, description="Tokens of the longest text, answers included"
    )
    shallowest: float = Field(
        default=0.05, ge=0, le=1, description="Where the first passkey may stand"
    )
    deepest: float = Field(default=0.95, ge=0, le=1, description="Where the last passkey may stand")
    sink: int = Field(default=128, ge=0, description="First tokens that a compressed head sees")
    recent: int = Field(default=256, ge=1, description="Latest tokens that a compressed head sees")
    seed: int = Field(default=0, ge=0)
    text: str = Field(
        default="", description="A text file to hide passkeys in; empty makes sentences"
    )

    @classmethod
    def fitted(
        cls,
        model: PreTrainedModel,
        *,
        window: StreamingWindow | None = None,
        seed: int = 0,
        text: str = "",
    ) -> DuoSettings:
        """What a model can read, and a CPU in minutes.

        The published settings where they fit; else shorter texts with fewer and shorter
        passkeys, and a window that is as small against them, or that which is given. Rates and
        shares stay.
        """
        found = cls._sizes(model)
        if window is not None:
            found |= {"sink": window.sink, "recent": window.recent}
        return cls.model_validate({**found, "seed": seed, "text": text})

    @staticmethod
    def _sizes(model: PreTrainedModel) -> dict[str, int]:
        from rlkv.models import max_length

        if model.config.get_text_config(decoder=True).vocab_size < SMALL_VOCABULARY:
            return {
                "steps": 400, "passkeys": 4, "passkey_words": 2,
                "lengths": 25, "shortest": 96, "longest": 144, "sink": 4, "recent": 16,
            }  # fmt: skip
        on_cpu = model.device.type == "cpu"
        longest = min(32_000, max_length(model.config), CPU_LONGEST if on_cpu else 32_000)
        if longest >= 4000:
            return {"longest": longest}
        recent = max(longest // 16, 8)
        return {
            "steps": 150, "passkeys": max(1, longest // 96), "passkey_words": 8, "lengths": 25,
            "shortest": longest // 2, "longest": longest, "sink": recent // 4, "recent": recent,
        }  # fmt: skip

    def lengths_of_texts(self) -> list[int]:
        """The lengths that texts are drawn from, in tokens."""
        if self.lengths == 1:
            return [self.longest]
        step = (self.longest - self.shortest) / (self.lengths - 1)
        return [round(self.shortest + i * step) for i in range(self.lengths)]

    def rate(self, step: int) -> float:
        """Share of the learning rate at a step counted from 0: up, level, down."""
        up, down = self.warm_up * self.steps, self.decay * self.steps
        share = min((step + 1) / up if up else 1.0, (self.steps - step) / down if down else 1.0)
        return min(max(share, self.floor), 1.0)
