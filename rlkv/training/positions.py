"""Positions in the loss: those at which the answers were drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel


@contextmanager
def counted_without_padding(model: PreTrainedModel) -> Iterator[None]:
    """Within it a model with learned positions counts them from a row's first real token.

    TRL's loss names no positions, so padding on the left is counted too. RoPE only turns by the
    distance of two tokens and does not care.
    """
    if getattr(model.config, "rope_parameters", None):
        yield
        return
    hook = model.register_forward_pre_hook(_with_positions, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _with_positions(
    model: PreTrainedModel, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    positions = (kwargs["attention_mask"].cumsum(1) - 1).clamp(min=0)  # [B, T]
    return args, {**kwargs, "position_ids": positions}
