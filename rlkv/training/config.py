"""The settings of one gate-training job. The form, the command line and the job row share them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlkv.errors import UserError


class TrainConfig(BaseModel):
    """Defaults are the preset *quick*: minutes on two CPU cores with the embedded model.

    Titles and descriptions are what people read in the form and in `--help`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "tracer", title="Model", description="'tracer', a Hub id, a local folder or a .gguf file"
    )
    task: str = Field("tracing", title="Task", description="What the model practises on")
    steps: int = Field(150, title="Steps", description="Optimiser steps", ge=1, le=100_000)
    penalty: float = Field(
        0.05,
        title="Penalty (beta)",
        description="Weight of the L1 penalty that pushes gates to 0; more makes fewer heads stay",
        ge=0,
        le=10,
    )
    seed: int = Field(0, title="Seed", description="Seed of problems and sampling", ge=0)
    learning_rate: float = Field(
        0.03, title="Learning rate", description="Largest move of a gate in one step", gt=0, le=1
    )
    cutoff: float = Field(
        0.5,
        title="Reward cut-off (tau)",
        description="No penalty while the mean reward is not above this",
        ge=0,
        le=1,
    )
    prompts_per_step: int = Field(
        12, title="Problems per step", description="Different problems in one step", ge=1, le=1024
    )
    samples_per_prompt: int = Field(
        4,
        title="Samples per problem",
        description="Answers drawn for each problem; they are compared with each other",
        ge=2,
        le=64,
    )
    temperature: float = Field(
        1.0, title="Temperature", description="Of the drawn answers", gt=0, le=5
    )
    max_new_tokens: int = Field(
        112, title="Longest answer", description="Tokens of an answer at most", ge=1, le=32_768
    )
    sink: int = Field(
        4, title="Sink tokens", description="First tokens that streaming heads keep", ge=0, le=4096
    )
    recent: int = Field(
        16,
        title="Recent tokens",
        description="Latest tokens that streaming heads keep, the current one included",
        ge=1,
        le=65_536,
    )
    hardening: bool = Field(
        True,
        title="Hardening",
        description="Sharpen the gates toward 0 and 1 so that the ranking fits a binary mask",
    )
    advantages: Literal["group", "batch"] = Field(
        "group",
        title="Advantage scale",
        description="Divide by the reward's deviation within a problem's samples or the batch",
    )
    problems: int = Field(
        512,
        title="Problem pool",
        description="Problems drawn; those that the model solves by itself are kept",
        ge=1,
        le=100_000,
    )
    eval_problems: int = Field(
        100,
        title="Final check",
        description="Unseen problems to measure the finished mask on, 0 for none",
        ge=0,
        le=10_000,
    )
    device: str = Field(
        "auto", title="Device", description="cpu, cuda or mps; auto is the fastest at hand"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Number format",
        description="Of the model's weights; auto is bfloat16 on CUDA, float32 elsewhere",
    )
    rows_at_once: int = Field(
        0,
        title="Rows at once",
        description="Answers worked on at once, per process; 0: as many as fit into memory",
        ge=0,
        le=65_536,
    )
    processes: int = Field(
        1,
        title="Processes",
        description="Processes on this machine that share each step; on GPUs one for each",
        ge=1,
        le=1024,
    )
    where: Literal["here", "hf-job"] = Field(
        "here",
        title="Where",
        description="On this machine, or as a Hugging Face Job of yours (it costs money)",
    )
    flavor: str = Field(
        "t4-small",
        title="Flavor",
        description="Machine of a Hugging Face Job: cpu-basic, t4-small, a10g-large, h200, ...",
        max_length=64,
    )
    save_every: int = Field(
        10, title="Save every", description="Steps between checkpoints", ge=1, le=10_000
    )

    def sharpness(self, step: int) -> float:
        """The gates' sharpness k at a step: 1 for a fifth, rising to 8 until three quarters."""
        if not self.hardening:
            return 1.0
        begin, end = 0.2 * self.steps, 0.74 * self.steps
        return 1.0 + 7.0 * min(max((step - begin) / (end - begin), 0.0), 1.0)


PRESETS: dict[str, dict[str, Any]] = {"quick": {}}


def make_config(values: dict[str, Any], preset: str = "quick") -> TrainConfig:
    """A checked configuration: the preset, changed by `values`.

    Raises:
        UserError: naming the field and what it may be.
    """
    if preset not in PRESETS:
        raise UserError(f"There is no preset '{preset}'. Choose one of: {', '.join(PRESETS)}.")
    try:
        return TrainConfig(**{**PRESETS[preset], **values})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        known = TrainConfig.model_fields.get(name)
        title = known.title if known else name
        raise UserError(f"{title}: {first['msg'].lower()}, got {first['input']!r}.") from error
