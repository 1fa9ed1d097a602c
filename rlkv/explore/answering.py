"""One greedy answer under one mask, as token ids, and what the model thinks of a given answer.

Both go through a split cache, so they follow the same streaming rule as chats do. Knows masks;
knows nothing of tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel

from rlkv.cache import SplitHeadCache
from rlkv.explore.stopping import Stop, check, never
from rlkv.feeding import feed
from rlkv.generation import PREFILL_CHUNK, is_repetitive, prefill
from rlkv.masks import HeadMask
from rlkv.models import max_length

JUDGED_AT_ONCE = 64
"""Answer tokens whose logits are held at once: vocabularies are large."""


@torch.inference_mode()
def greedy(
    model: PreTrainedModel,
    prompt: Sequence[int],
    mask: HeadMask,
    *,
    max_new_tokens: int,
    ends: set[int],
    begun: Sequence[int] = (),
    stop: Stop = never,
) -> list[int]:
    """The ids of a greedy answer, the end token included, under the rules of the chat.

    Args:
        begun: ids that the answer is known to begin with; they are read, not drawn.

    Raises:
        Stopped: if `stop()` says so, asked before every token.
    """
    cache = SplitHeadCache(model, mask)
    ids = list(begun)
    new = [*prompt, *ids]
    while not _ended(ids, len(prompt), model, ends, max_new_tokens):
        check(stop)
        logits = prefill(model, torch.tensor([new], device=model.device), cache)
        new = [int(logits[0, -1].float().argmax())]
        ids += new
    return ids


@torch.inference_mode()
def judged(
    model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int], masks: Sequence[HeadMask]
) -> Iterator[tuple[torch.Tensor, ...]]:
    """What the model says before each token of a given answer, under several masks.

    Yields, for a few tokens at a time, float32 log-probabilities `[n, vocabulary]` of each mask.
    """
    caches = [SplitHeadCache(model, mask) for mask in masks]
    # The last token of the prompt foretells the answer's first, the answer's last one nothing.
    before, fed = list(prompt[:-1]), [prompt[-1], *answer[:-1]]
    for part in _split(before, PREFILL_CHUNK):
        for cache in caches:
            prefill(model, torch.tensor([part], device=model.device), cache)
    for part in _split(fed, JUDGED_AT_ONCE):
        tokens = torch.tensor([part], device=model.device)
        yield tuple(
            feed(model, cache, input_ids=tokens).logits[0].float().log_softmax(-1)
            for cache in caches
        )


def _split(ids: list[int], size: int) -> Iterator[list[int]]:
    return (ids[at : at + size] for at in range(0, len(ids), size))


def _ended(
    ids: list[int], prompt: int, model: PreTrainedModel, ends: set[int], max_new_tokens: int
) -> bool:
    """Whether an answer is over, as in `rlkv.generation`."""
    if not ids:
        return False
    full = len(ids) >= max_new_tokens or prompt + len(ids) > max_length(model.config)
    return full or ids[-1] in ends or is_repetitive(ids)
