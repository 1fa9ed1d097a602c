"""Measures one model: every batch, context and mask, one row each."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import torch
from transformers import PreTrainedModel

from rlkv.attention import NAME
from rlkv.benchmark.measuring import Measuring
from rlkv.benchmark.rows import Row
from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.models import model_spec
from rlkv.out_of_memory import is_out_of_memory


def _silent(text: str) -> None:
    return


@torch.inference_mode()
def bench(
    model: PreTrainedModel,
    masks: Sequence[HeadMask],
    *,
    contexts: Sequence[int],
    batches: Sequence[int] = (1,),
    new_tokens: int = 32,
    with_others: bool = True,
    reads: bool = True,
    progress: Callable[[str], None] = _silent,
    note: Callable[[str], None] = _silent,
) -> Iterator[Row]:
    """Yields a row for every batch, context and mask, in this order, as they are measured.

    How each number is measured: `rlkv.benchmark.measuring`.

    Args:
        contexts: prompt lengths in tokens.
        new_tokens: tokens decoded after the prompt.
        with_others: transformers' further caches too, not only the stock one.
        reads: False fills the caches with random numbers instead of reading a prompt.
        progress: told what is measured next.
        note: told which contender was left out and why.

    Raises:
        UserError: if a length does not fit the model, a mask has another shape, or the memory
            is too small.
    """
    _check_lengths(model, contexts, batches, new_tokens)
    measuring = Measuring(model, new_tokens, with_others, reads, note)
    with _old_objects_unvisited():
        for batch, context in product(batches, contexts):
            peaks: dict[str, int | None] = {}
            for mask in masks:
                progress(measuring.label(mask, context, batch))
                with _attention_given_back(model), _enough_memory(context, batch):
                    row = measuring.row(mask, context, batch, peaks)
                yield row
                for name in ("split", "split-graph"):  # the next mask changes these alone
                    peaks.pop(name, None)


def _check_lengths(
    model: PreTrainedModel, contexts: Sequence[int], batches: Sequence[int], new_tokens: int
) -> None:
    limit = model_spec(model).max_length
    if min(*contexts, *batches, new_tokens) < 1:
        raise UserError("Contexts, new tokens and batch must be at least 1.")
    if max(contexts) + new_tokens > limit:
        raise UserError(
            f"This model reads at most {limit} tokens, prompt and new ones together: "
            "choose shorter contexts."
        )


@contextmanager
def _old_objects_unvisited() -> Iterator[None]:
    """The garbage collector leaves alone what is there now: it takes part in no timed step."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _attention_given_back(model: PreTrainedModel) -> Iterator[None]:
    """Whatever ends the measuring, the model is left with our attention function."""
    try:
        yield
    finally:
        model.config._attn_implementation = NAME


@contextmanager
def _enough_memory(context: int, batch: int) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise UserError(
                f"Context {context} at batch {batch} does not fit into the memory: "
                "choose shorter contexts or a smaller batch."
            ) from error
        raise
