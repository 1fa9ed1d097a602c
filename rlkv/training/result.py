"""The finished mask of a job, and what it is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import model_spec
from rlkv.tasks import Task
from rlkv.training.config import TrainConfig
from rlkv.training.observer import Observer


def as_mask(
    model: PreTrainedModel,
    scores: NDArray[np.float32],
    config: TrainConfig,
    steps: int,
    notes: dict[str, Any],
) -> HeadMask:
    """The mask at 50 % sparsity of a ranking `[layers, kv_heads]`, with its provenance."""
    spec = model_spec(model)
    sink, recent = config.window
    return HeadMask.from_scores(
        scores,
        sparsity=0.5,
        sink=sink,
        recent=recent,
        model=config.model,
        revision=getattr(model.config, "_commit_hash", None) or "",
        name=f"{spec.name} {config.task} seed {config.seed}"
        + ("" if steps == config.steps else f" ({steps} of {config.steps} steps)"),
        info={
            "task": config.task,
            "seed": config.seed,
            "steps_done": steps,
            "recipe": config.model_dump(),
            "head_dim": spec.head_dim,
            "itemsize": spec.itemsize,
            "query_heads": spec.query_heads,
            "layer_ids": list(spec.layout.gated),
            **notes,
        },
    )


def measured(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    mask: HeadMask,
    config: TrainConfig,
    observer: Observer,
) -> HeadMask:
    """The mask with its accuracy next to the full model's, on problems never trained on."""
    problems = task.problems(config.eval_problems, seed=config.seed, split="test")
    looked_at = {
        "accuracy_full": HeadMask.full(*mask.shape),
        "accuracy_at_50": mask,
        "accuracy_at_target": mask.at_sparsity(config.target_sparsity),
    }
    metrics: dict[str, Any] = {"n": len(problems), "target_sparsity": config.target_sparsity}
    for done, (name, one) in enumerate(looked_at.items()):
        observer.phase("measuring", done * len(problems), len(looked_at) * len(problems))
        metrics[name] = accuracy(
            model, tokenizer, task, problems, one, max_new_tokens=config.max_new_tokens
        ).value
    return replace(mask, info={**mask.info, "metrics": metrics})
