"""The settings of one gate-training job. The form, the command line and the job row share them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rlkv.errors import UserError, of_setting

LONGEST_TEXT = 5000
"""Characters of a setting: a path of a file has 4,096 at most."""
LARGEST_SEED = 2**32 - 1
"""That numpy's generators take."""


class TrainConfig(BaseModel):
    """Defaults are the preset *quick*: minutes on two CPU cores with the embedded model.

    Titles and descriptions are what people read in the form and in `--help`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=LONGEST_TEXT)

    model: str = Field(
        "tracer",
        title="Model",
        description="'tracer', a Hub id (org/name or org/name@revision), a folder or a .gguf file",
    )
    task: str = Field("tracing", title="Task", description="What the model practises on")
    steps: int = Field(150, title="Steps", description="Optimiser steps", ge=1, le=100_000)
    penalty: float = Field(
        0.05,
        title="Penalty (beta)",
        description="L1 price of open gates; higher keeps fewer heads",
        ge=0,
        le=10,
    )
    seed: int = Field(
        0, title="Seed", description="Seed of problems and sampling", ge=0, le=LARGEST_SEED
    )
    learning_rate: float = Field(
        0.03, title="Learning rate", description="Largest move of a gate in one step", gt=0, le=1
    )
    weight_decay: float = Field(
        0.0, title="Weight decay", description="AdamW's, on the gates", ge=0, le=1
    )
    adam_epsilon: float = Field(
        1e-3,
        title="Adam epsilon",
        description="Keeps the pull of the penalty alone in proportion to beta (docs/method.md)",
        gt=0,
        le=1,
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
    top_p: float = Field(
        1.0, title="Top-p", description="Draw from the likeliest tokens of this mass", gt=0, le=1
    )
    top_k: int = Field(
        0, title="Top-k", description="Draw from so many likeliest tokens, 0 for all", ge=0
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
    hardening: Literal["none", "anneal", "straight-through"] = Field(
        "none",
        title="Hardening",
        description="How gates become a binary mask while training: not at all (the paper), by "
        "sharpening them, or by training under the mask itself",
    )
    elimination: bool = Field(
        True,
        title="Elimination",
        description="Rank the heads at the end by taking them away one by one under hard masks",
    )
    target_sparsity: float = Field(
        0.7,
        title="Sparsity to aim for",
        description="Of the mask that hardening trains and whose reward is shown beside the gates'",
        gt=0,
        lt=1,
    )
    advantages: Literal["group", "batch"] = Field(
        "group",
        title="Advantages",
        description="A sample's reward is compared with the same problem's other samples "
        "(group, the paper) or with the whole batch (batch, the paper's release)",
    )
    problems: int = Field(
        512,
        title="Problems tried",
        description="Problems that the untouched model tries; those it solves are kept",
        ge=1,
        le=100_000,
    )
    pool: int = Field(
        0,
        title="Problem pool",
        description="Solved problems to train on, drawn evenly over answer lengths; 0 for all",
        ge=0,
        le=100_000,
    )
    strata: str = Field(
        "",
        title="Length strata",
        description="The pool's make-up by answer length, as tokens:problems,tokens:problems; "
        "empty for four equal bins",
        pattern=r"^(\d+:\d+(,\d+:\d+)*)?$",
    )
    hard_every: int = Field(
        10,
        title="Check the mask every",
        description="Steps between two looks at the reward under the binary mask, 0 for never",
        ge=0,
        le=10_000,
    )
    eval_problems: int = Field(
        100,
        title="Final check",
        description="Unseen problems to measure the finished mask on, 0 for none",
        ge=0,
        le=10_000,
    )
    deployed_sink: int = Field(
        -1,
        title="Sink tokens of the mask",
        description="If the finished mask is to have others than in training; -1 for the same",
        ge=-1,
        le=4096,
    )
    deployed_recent: int = Field(
        -1,
        title="Recent tokens of the mask",
        description="If the finished mask is to have others than in training; -1 for the same",
        ge=-1,
        le=65_536,
    )
    rows_at_once: int = Field(
        0,
        title="Rows at once",
        description="Answers in one pass through the model, 0 for all of a step; fewer need less "
        "memory and give the same gradient",
        ge=0,
        le=65_536,
    )
    rollout_rows: int = Field(
        0,
        title="Rows drawn at once",
        description="Answers drawn in one batch, 0 for all of a step or as many as fit; fewer need "
        "less memory and draw other answers",
        ge=0,
        le=65_536,
    )
    device: str = Field(
        "auto", title="Device", description="cpu, cuda or mps; auto is the fastest at hand"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Number format",
        description="Of the model's weights; auto is bfloat16 on CUDA, float32 elsewhere",
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
    timeout: str = Field(
        "24h",
        title="Time limit",
        description="After which a Hugging Face Job is ended, as 90m, 24h or 3d",
        pattern=r"^[1-9]\d{0,5}(\.\d+)?[smhd]$",
    )
    save_every: int = Field(
        10, title="Save every", description="Steps between checkpoints", ge=1, le=10_000
    )

    report_to: Literal["none", "trackio", "wandb"] = Field(
        "none",
        title="Report to",
        description="Send every step's numbers to this tracker too, if it is installed",
    )

    @field_validator("hardening", mode="before")
    @classmethod
    def _before_it_had_names(cls, value: Any) -> Any:
        """Jobs of the first version said only whether."""
        return {True: "anneal", False: "none"}.get(value, value) if value in (0, 1) else value

    @property
    def rows(self) -> int:
        """Answers of one step, over all processes."""
        return self.prompts_per_step * self.samples_per_prompt

    @property
    def window(self) -> tuple[int, int]:
        """Sink and recent tokens of the finished mask."""
        sink = self.sink if self.deployed_sink < 0 else self.deployed_sink
        return sink, self.recent if self.deployed_recent < 1 else self.deployed_recent


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "thorough": {
        "steps": 400,
        "prompts_per_step": 24,
        "samples_per_prompt": 8,
        "learning_rate": 0.02,
        "problems": 4096,
        "pool": 2048,
        "eval_problems": 500,
    },
    # arXiv 2510.08525, appendix; what the release does differently is in docs/method.md.
    "paper": {
        "task": "deepscaler",
        "steps": 185,
        "penalty": 1e-3,
        "learning_rate": 0.01,
        "weight_decay": 0.017,
        "adam_epsilon": 1e-8,
        "cutoff": 0.5,
        "prompts_per_step": 32,
        "samples_per_prompt": 4,
        "max_new_tokens": 7168,
        "sink": 128,
        "recent": 256,
        "deployed_sink": 16,
        "deployed_recent": 64,
        "hardening": "none",
        "elimination": False,
        "target_sparsity": 0.5,
        "problems": 40_000,
        "pool": 3000,
        "strata": "2048:600,4096:600,6144:1000,8192:800",
        "eval_problems": 500,
    },
}


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
        raise of_setting(error, TrainConfig) from error


def as_options(values: dict[str, Any]) -> list[str]:
    """Settings as words of the command line."""
    words: list[str] = []
    for name, value in values.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words
