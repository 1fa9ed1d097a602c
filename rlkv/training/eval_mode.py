"""A model as it answers, while somebody else has it in training mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def in_eval_mode(model: PreTrainedModel) -> Iterator[None]:
    """Within it nothing is dropped out or jittered, also where gradients are wanted.

    The Trainer puts a model into training mode for good; its weights are frozen, and what draws,
    loss and elimination compute must be the same function.
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
