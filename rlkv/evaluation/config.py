"""The settings of one evaluation. The form, the command line and the job row share them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rlkv.errors import UserError, of_setting
from rlkv.evaluation.methods import METHODS
from rlkv.mask_link import MAX_LINK
from rlkv.masks import HeadMask
from rlkv.training.config import LARGEST_SEED, LONGEST_TEXT

SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TOP_SPARSITIES = (0.1, 0.2, 0.3, 0.4)
"""Shares of the top heads that the reasoning-heads experiment compresses, as the paper's."""
DEFAULT_METHODS = ("learned", "random", "inverse", "streaming", "far", "reward_gradient")
MOST_MASKS = 8


class MaskEntry(BaseModel):
    """A mask to measure, whole: the job does not depend on where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=200)
    key: str = Field("", max_length=MAX_LINK)
    """What the app calls it, for a link back; a mask from a link is called by that link."""
    layers: int = Field(ge=1, le=1024)
    kv_heads: int = Field(ge=1, le=1024)
    scores: str
    """float32, little endian, row-major, base64."""
    kept: str = ""
    """The mask's own cut, base64 of packed bits, row-major; empty where an older version wrote it.
    Heads chosen by hand are in no ranking, so scores alone would lose them."""
    sink: int = Field(ge=0)
    recent: int = Field(ge=1)

    @classmethod
    def of(cls, mask: HeadMask, key: str = "") -> MaskEntry:
        """The entry of a mask."""
        return cls(
            name=(mask.name or "mask")[:200],
            key=key,
            layers=mask.layers,
            kv_heads=mask.kv_heads,
            scores=base64.b64encode(mask.scores.astype("<f4").tobytes()).decode(),
            kept=base64.b64encode(np.packbits(mask.kept).tobytes()).decode(),
            sink=mask.sink,
            recent=mask.recent,
        )

    def mask(self) -> HeadMask:
        """The mask again; with every head kept where its own cut was not stored.

        Raises:
            UserError: if the numbers do not fit the shape.
        """
        shape = self.layers, self.kv_heads
        try:
            table = np.frombuffer(base64.b64decode(self.scores, validate=True), "<f4")
            table = table.reshape(shape)
            kept = np.ones(shape, np.bool_)
            if self.kept:
                bits = np.frombuffer(base64.b64decode(self.kept, validate=True), np.uint8)
                kept = np.unpackbits(bits)[: kept.size].reshape(shape).astype(np.bool_)
        except (ValueError, binascii.Error) as error:
            raise UserError(f"The mask '{self.name}' is damaged: choose it again.") from error
        whole = HeadMask.from_scores(
            table, sparsity=0.0, sink=self.sink, recent=self.recent, name=self.name
        )
        return replace(whole, kept=kept)


class EvalConfig(BaseModel):
    """Titles and descriptions are what people read in the form and in `--help`."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=LONGEST_TEXT)

    model: str = Field(
        "tracer",
        title="Model",
        description="'tracer', a Hub id (org/name or org/name@revision), a folder or a .gguf file",
    )
    task: str = Field("tracing", title="Task", description="What the model is asked")
    masks: tuple[MaskEntry, ...] = Field(
        (), title="Masks", description="Learned masks to measure", max_length=MOST_MASKS
    )
    methods: tuple[str, ...] = Field(
        DEFAULT_METHODS, title="Methods", description="What to compare, beside the full cache"
    )
    sparsities: tuple[float, ...] = Field(
        SPARSITIES,
        title="Sparsities",
        description="Shares of KV heads to compress, separated by commas",
        min_length=1,
        max_length=50,
    )
    top: bool = Field(
        False,
        title="Reasoning-heads experiment",
        description="Also compress the top 10 to 40 % of every ranking instead of the bottom",
    )
    problems: int = Field(
        200, title="Problems", description="Unseen problems a point", ge=1, le=100_000
    )
    seed: int = Field(
        1, title="Seed", description="Seed of problems and sampling", ge=0, le=LARGEST_SEED
    )
    samples: int = Field(
        1,
        title="Samples per problem",
        description="Answers drawn for each problem; greedy ones are all the same",
        ge=1,
        le=64,
    )
    temperature: float = Field(
        0.0, title="Temperature", description="Of the answers; 0 is greedy", ge=0, le=5
    )
    top_p: float = Field(
        1.0, title="Top-p", description="Draw from the likeliest tokens of this mass", gt=0, le=1
    )
    max_new_tokens: int = Field(
        0, title="Longest answer", description="Tokens; 0 for what the task needs", ge=0, le=32_768
    )
    random_seeds: int = Field(
        5, title="Random masks", description="Uniformly random masks that are averaged", ge=1, le=50
    )
    sink: int = Field(
        -1,
        title="Sink tokens",
        description="First tokens that compressed heads keep; -1 for the first mask's",
        ge=-1,
        le=4096,
    )
    recent: int = Field(
        -1,
        title="Recent tokens",
        description="Latest tokens that compressed heads keep; -1 for the first mask's",
        ge=-1,
        le=65_536,
    )
    tolerance: float = Field(
        0.03,
        title="Tolerance",
        description="Loss of accuracy that still counts as near-lossless: .03 is 3 points",
        ge=0,
        lt=1,
    )
    probes: int = Field(
        32,
        title="Probe texts",
        description="Solved training problems on which rankings without training are measured",
        ge=1,
        le=1000,
    )
    duo_steps: int = Field(
        0,
        title="DuoAttention steps",
        description="Of its own training; 0 for what fits the model (docs/baselines.md)",
        ge=0,
        le=100_000,
    )
    rows_at_once: int = Field(
        50, title="Rows at once", description="Answers in one batch", ge=1, le=4096
    )
    device: str = Field(
        "auto", title="Device", description="cpu, cuda or mps; auto is the fastest at hand"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Number format",
        description="Of the model's weights; auto is bfloat16 on CUDA, float32 elsewhere",
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _known_methods(cls, value: Any) -> Any:
        """Each once, in the order of `METHODS`."""
        names = [value] if isinstance(value, str) else list(value)
        unknown = [name for name in names if name not in METHODS]
        if unknown:
            raise ValueError(f"choose some of {', '.join(METHODS)}")
        return tuple(name for name in METHODS if name in names)

    @field_validator("sparsities", mode="before")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        """Numbers from a list or from text, each once, in order."""
        parts = value.replace(";", ",").split(",") if isinstance(value, str) else list(value)
        try:
            found = sorted({round(float(part), 4) for part in parts if str(part).strip()})
        except (TypeError, ValueError) as error:
            raise ValueError("give numbers such as 0.3, 0.5, 0.7") from error
        if not found:
            raise ValueError("give at least one number, such as 0.5")
        if any(not 0 < s <= 1 for s in found):
            raise ValueError(
                "sparsities lie above 0 and up to 1; the full cache is always measured"
            )
        return tuple(found)

    @property
    def draws(self) -> int:
        """Answers to each problem: greedy ones need no second."""
        return self.samples if self.temperature > 0 else 1

    @property
    def window(self) -> tuple[int, int]:
        """Sink and recent tokens of compressed heads, for all methods alike."""
        first = self.masks[0] if self.masks else None
        sink = self.sink if self.sink >= 0 else (first.sink if first else 4)
        recent = self.recent if self.recent >= 1 else (first.recent if first else 16)
        return sink, recent


def make_eval_config(values: dict[str, Any]) -> EvalConfig:
    """A checked configuration.

    Raises:
        UserError: naming the field and what it may be.
    """
    try:
        config = EvalConfig(**values)
    except ValidationError as error:
        raise of_setting(error, EvalConfig, unquoted="masks") from error
    if {"learned", "inverse"} & set(config.methods) and not config.masks:
        raise UserError("Choose a learned mask to measure, or leave out Learned and Inverse.")
    return config
