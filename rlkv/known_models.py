"""Models that can be picked by name, with their facts written down, so that showing them needs
neither the network nor torch. Tests hold the figures against the models' own code."""

from __future__ import annotations

from dataclasses import dataclass

from rlkv.errors import UserError


@dataclass(frozen=True)
class KnownModel:
    """A model as its publisher released it."""

    ref: str
    """`tracer`, or its Hub id."""
    name: str
    about: str
    parameters: int
    layers: int
    """Layers with gates: all of them in these models."""
    kv_heads: int
    head_dim: int
    context: int
    """Tokens that its configuration allows."""
    download: int
    """Bytes of its weights on the Hub; 0 for the embedded one."""


KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        "tracer", "tracer", "embedded",
        parameters=1_004_032, layers=4, kv_heads=8, head_dim=16, context=1_024, download=0,
    ),
    KnownModel(
        "HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct", "small",
        parameters=134_515_008, layers=30, kv_heads=3, head_dim=64, context=8_192,
        download=269_060_552,
    ),
    KnownModel(
        "Qwen/Qwen3-4B-Thinking-2507", "Qwen3-4B-Thinking", "of the paper",
        parameters=4_022_468_096, layers=36, kv_heads=8, head_dim=128, context=262_144,
        download=8_044_936_192,
    ),
    KnownModel(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "DeepSeek-R1-Distill-Qwen-7B", "of the paper",
        parameters=7_615_616_512, layers=28, kv_heads=4, head_dim=128, context=131_072,
        download=15_231_233_024,
    ),
    KnownModel(
        "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "DeepSeek-R1-Distill-Llama-8B", "of the paper",
        parameters=8_030_261_248, layers=32, kv_heads=8, head_dim=128, context=131_072,
        download=16_060_522_496,
    ),
)  # fmt: skip


PAPERS = tuple(model.ref for model in KNOWN if model.about == "of the paper")
"""Those that the RLKV paper trains on mathematics, the smallest first."""


def known(ref: str) -> KnownModel | None:
    """The entry of a reference, None if it has none."""
    return next((model for model in KNOWN if model.ref == ref), None)


BEYOND_THE_EMBEDDED = ("gsm8k", "math-500", "aime24", "deepscaler", "mbpp")
"""Tasks in sentences that the embedded model, which knows the tracing task alone, can't read."""


def require_able(model: str, task: str) -> None:
    """Raises UserError where it is known that the model solves none of the task's problems.

    For other models a job finds out by trying.
    """
    if model == "tracer" and task in BEYOND_THE_EMBEDDED:
        raise UserError(
            f"The embedded model solves no '{task}' problems, so its heads can't be told apart: "
            f"choose a model that does, such as {PAPERS[0]}, or the task 'tracing'."
        )
