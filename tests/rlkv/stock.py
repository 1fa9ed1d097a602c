"""What transformers' own `generate` writes: the measure of our batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.cache import SplitHeadCache
from rlkv.generation import PREFILL_CHUNK, chat_prompt
from rlkv.masks import HeadMask


@dataclass(frozen=True)
class Completion:
    """A finished answer of a batch."""

    text: str
    """Without special tokens."""
    n_tokens: int
    kv_bytes: int
    """Measured bytes of its row's keys and values when the whole batch had ended; 0 if the
    model's own cache was used."""


@torch.inference_mode()
def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    mask: HeadMask | None,
    *,
    max_new_tokens: int,
    batch_size: int = 50,
) -> Iterator[Completion]:
    """Greedy completions of many prompts under one mask, in batches, in order.

    None means the model as it is with a stock cache, gates included if any are attached.
    """
    for at in range(0, len(prompts), batch_size):
        texts = [chat_prompt(tokenizer, p) for p in prompts[at : at + batch_size]]
        inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        inputs = inputs.to(model.device)
        cache = None if mask is None else SplitHeadCache(model, mask)
        out = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            past_key_values=cache,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            prefill_chunk_size=PREFILL_CHUNK,
        )
        new = out[:, inputs["input_ids"].shape[1] :]
        kv_bytes = 0 if cache is None else cache.nbytes // len(texts)
        for row in new:
            text = tokenizer.decode(row, skip_special_tokens=True)
            yield Completion(text, int((row != tokenizer.pad_token_id).sum()), kv_bytes)
