"""Models and conversations for the tests of dialogues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from rlkv.cache import SplitHeadCache
from rlkv.dialogue import Frame, Message, SideSpec, converse
from rlkv.generation import Sampling
from rlkv.masks import HeadMask
from tests.rlkv.families import tiny

PROMPT = "c=7; b=6; e:c-b; k:c-e; ?k"
SECOND = "d=2; f=9; g:f-d; ?g"
HALF = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16)
MOST = HeadMask.random(4, 8, sparsity=0.9, seed=1, sink=2, recent=6)
"""Of the embedded model; its answers soon go wrong under it."""
TINY_HALF = HeadMask.random(3, 4, sparsity=0.5, seed=0, sink=2, recent=6)
TINY_OTHER = HeadMask.random(3, 4, sparsity=0.75, seed=3, sink=1, recent=4)

Loaded = tuple[Any, Any]


def asked(*texts: str) -> tuple[Message, ...]:
    """Question, answer, question, ..."""
    roles = ("user", "assistant")
    return tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))  # type: ignore[arg-type]


def small(attention: str = "rlkv", **changes: Any) -> PreTrainedModel:
    """A tiny random Llama with the embedded model's words; it never ends by itself."""
    return tiny("llama", attention, vocab_size=155, eos_token_id=None, **changes)


def answer(
    loaded: Loaded,
    masks: Sequence[HeadMask | None],
    history: tuple[Message, ...],
    sampling: Sampling,
    **options: Any,
) -> Frame:
    """The last frame of an answer to the same history on all sides."""
    *_, frame = converse(*loaded, [SideSpec(mask, history) for mask in masks], sampling, **options)
    return frame


def ids_of(frame: Frame, side: int = 0) -> list[int]:
    return [token.id for token in frame.sides[side].tokens]


def prompt_of(tokenizer: Any, history: Sequence[Message]) -> list[int]:
    """The prompt's ids, by the tokeniser alone."""
    messages = [{"role": m.role, "content": m.text} for m in history]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@torch.inference_mode()
def log_p_after(model: Any, mask: HeadMask | None, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of the next token, everything read anew in one pass."""
    rows, heads = (3, 4) if model.config.num_hidden_layers == 3 else (4, 8)
    cache = SplitHeadCache(model, mask or HeadMask.full(rows, heads))
    logits = model(input_ids=torch.tensor([list(ids)]), past_key_values=cache).logits
    return logits[0, -1].float().log_softmax(-1)
