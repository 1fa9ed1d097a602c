"""The finished mask of a job, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.errors import UserError
from rlkv.evaluation.accuracy import ROWS_AT_ONCE, accuracy
from rlkv.explore.stopping import Stopped
from rlkv.hub.cached import cached_commit
from rlkv.hub.names import split_revision
from rlkv.masks import HeadMask
from rlkv.models import ModelSpec, model_spec
from rlkv.out_of_memory import free_memory, is_out_of_memory
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
        model=split_revision(config.model)[0],
        revision=revision_of(config.model),
        name=f"{spec.name} {config.task} seed {config.seed}"
        + ("" if steps == config.steps else f" ({steps} of {config.steps} steps)"),
        info={
            "task": config.task,
            "seed": config.seed,
            "steps_done": steps,
            "recipe": config.model_dump(),
            **model_notes(spec),
            **notes,
        },
    )


def model_notes(spec: ModelSpec) -> dict[str, Any]:
    """What a mask notes of its model's shape."""
    return {
        "head_dim": spec.head_dim,
        "itemsize": spec.itemsize,
        "query_heads": spec.query_heads,
        "layer_ids": list(spec.layout.gated),
    }


def revision_of(ref: str) -> str:
    """The commit of a model that was read from the Hub, else the revision asked for, or ""."""
    return cached_commit(ref) or split_revision(ref)[1] or ""


def measured(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    mask: HeadMask,
    config: TrainConfig,
    observer: Observer,
) -> HeadMask:
    """The mask with its accuracy next to the full model's, on problems never trained on.

    Without, and the observer is told so, if there are no such problems, it is stopped, or not even
    one answer fits into memory: what was learned is not lost for a figure.
    """
    try:
        problems = task.problems(config.eval_problems, seed=config.seed, split="test")
    except UserError as error:
        observer.event(f"The mask is kept, without its accuracy: {error}")
        return mask

    def value(one: HeadMask, rows: int) -> float:
        return accuracy(
            model,
            tokenizer,
            task,
            problems,
            one,
            max_new_tokens=config.max_new_tokens,
            rows_at_once=rows,
            stop=observer.should_stop,
        ).value

    rows = config.rollout_rows or ROWS_AT_ONCE
    while True:
        try:
            metrics = _metrics(mask, config, observer, len(problems), partial(value, rows=rows))
            return replace(mask, info={**mask.info, "metrics": metrics})
        except Stopped:
            observer.event("Stopped while measuring: the mask is kept, without its accuracy")
            return mask
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Past the except clause: the error's frames hold the tensors that are to be freed.
        free_memory()
        if rows == 1:
            observer.event("Out of memory while measuring: the mask is kept, without its accuracy")
            return mask
        observer.event(f"Out of memory measuring {rows} rows at once: again with half")
        rows //= 2


def _metrics(
    mask: HeadMask,
    config: TrainConfig,
    observer: Observer,
    n: int,
    value: Callable[[HeadMask], float],
) -> dict[str, Any]:
    looked_at = {
        "accuracy_full": HeadMask.full(*mask.shape),
        "accuracy_at_50": mask,
        "accuracy_at_target": mask.at_sparsity(config.target_sparsity),
    }
    metrics: dict[str, Any] = {"n": n, "target_sparsity": config.target_sparsity}
    for done, (name, one) in enumerate(looked_at.items()):
        observer.phase("measuring", done * n, len(looked_at) * n)
        metrics[name] = value(one)
    return metrics
