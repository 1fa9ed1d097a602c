"""Writing text under a mask: how tokens are drawn and when to stop, batches for measuring.

Full and compressed runs go through the same cache class and kernels; "full" is a mask that
keeps every head. Nothing here knows tasks, masks' origins or the screen. Conversations with several
masks side by side: `rlkv.dialogue`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache

from rlkv.errors import UserError
from rlkv.feeding import feed
from rlkv.masks import HeadMask

if TYPE_CHECKING:
    from rlkv.dialogue import SideState

PREFILL_CHUNK = 512
"""Tokens of a prompt that are read at once."""

REPETITION_WINDOW, REPETITION_DISTINCT = 400, 40
"""Stop when the last 400 tokens hold fewer than 40 distinct ones (as the paper's evaluation)."""
LOOP_TOKENS, LOOP_PERIOD = 128, 32
"""Stop too when the last 128 tokens repeat themselves every 32 or fewer."""
TAIL_TOKENS, TAIL_TIMES = 24, 3
COLDEST = 1e-30
"""Temperature below which logits over it leave float32; the likeliest token wins long before."""
SEEDS = 2**63
"""Seeds that torch's generators take, below this."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError("At least one new token is needed.")
        if not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1:
            raise UserError("Temperature must be 0 or more, and top-p in (0, 1].")
        if abs(self.seed) >= SEEDS:
            raise UserError(f"The seed {self.seed} is too large: choose one below {SEEDS}.")


@dataclass(frozen=True)
class Side:
    """What one run has written so far: an immutable snapshot."""

    text: str
    n_tokens: int
    """Tokens generated."""
    length: int
    """Tokens in the cache, prompt included."""
    kv_bytes: int
    """Measured bytes of keys and values."""
    seconds: float
    """Time of its own forward passes after the prompt."""
    stop_reason: str | None = None
    """None while running, else "end", "length", "repetition", "stopped" or "memory"."""

    @classmethod
    def of(cls, state: SideState) -> Side:
        """A side of a conversation, without what its prompt opened."""
        return cls(
            text="".join(token.text for token in state.tokens),
            n_tokens=state.n_tokens,
            length=state.length,
            kv_bytes=state.kv_bytes,
            seconds=state.seconds,
            stop_reason=state.stop_reason,
        )

    @property
    def tokens_per_second(self) -> float:
        """Decode speed; 0 before the second token."""
        return (self.n_tokens - 1) / self.seconds if self.seconds else 0.0


def chat_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """The user's text as the model expects it, ready to be answered."""
    if not tokenizer.chat_template:
        return prompt
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    return str(text)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of one chat turn, ready to be answered; nothing is checked."""
    ids = tokenizer(chat_prompt(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    return list(ids)


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str, limit: int) -> torch.Tensor:
    """Token ids `[1, T]` of one chat turn.

    Raises:
        UserError: if nothing is left of the prompt, the model has no words for a part of it,
            or it does not fit the model's `limit` of tokens.
    """
    if not prompt.strip():
        raise UserError("Write a question first.")
    text = chat_prompt(tokenizer, prompt)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    require_known(tokenizer, ids[0].tolist(), prompt)
    if ids.shape[1] >= limit:
        raise UserError(
            f"The prompt has {ids.shape[1]} tokens but the model reads at most {limit}: shorten it."
        )
    return ids


def require_known(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *texts: str) -> None:
    """Refuses the token ids of `texts` if the model has no token for a part of them.

    Raises:
        UserError: naming the words.
    """
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown == tokenizer.eos_token_id or unknown not in ids:
        return
    words = [word for text in texts for word in unreadable(tokenizer, text)]
    shown = ", ".join(f"“{word[:20]}”" for word in words[:3]) or "some of these characters"
    more = " and more" if len(words) > 3 else ""
    raise UserError(f"This model does not know {shown}{more}: it has no token for it.")


def unreadable(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """The words of `text` that the model has no token for, each once."""
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown == tokenizer.eos_token_id:
        return []
    words = dict.fromkeys(text.split())
    return [word for word in words if unknown in tokenizer(word)["input_ids"]]


def prefill(
    model: PreTrainedModel, ids: torch.Tensor, cache: Cache, chunk: int = PREFILL_CHUNK
) -> torch.Tensor:
    """Reads `ids` `[B, T]` into a cache, a chunk at a time; logits `[B, 1, vocabulary]`.

    No layer ever holds keys of more than a chunk for its compressed heads.
    """
    for part in torch.split(ids, chunk, dim=1):
        logits: torch.Tensor = feed(model, cache, input_ids=part, logits_to_keep=1).logits
    return logits


def lockstep(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    masks: Sequence[HeadMask | None],
    sampling: Sampling,
    stop: threading.Event | None = None,
    capture: bool = False,
) -> Iterator[tuple[Side, ...]]:
    """Answers one prompt under several masks: `rlkv.dialogue.converse` with texts and bytes only.

    Yields a snapshot of all sides after every token. None is the full cache. `stop` ends all of
    them after the current token.
    """
    from rlkv.dialogue import Control, Message, SideSpec, converse

    history = (Message("user", prompt),)
    specs = [SideSpec(mask, history) for mask in masks]
    frames = converse(model, tokenizer, specs, sampling, Control(stop), capture=capture)
    with closing(frames):
        for frame in frames:
            if not any(side.is_reading for side in frame.sides):
                yield tuple(Side.of(state) for state in frame.sides)


def draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """The next token of `[1, vocabulary]` logits."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits / max(sampling.temperature, COLDEST)).softmax(-1).cpu()
    chances = likeliest(probabilities, sampling.top_p)
    return torch.multinomial(chances, 1, generator=generator)[0]


def likeliest(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """`[B, vocabulary]` with 0 for all but the likeliest tokens that make up `top_p` of the sum."""
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    ordered = ordered / ordered.sum(-1, keepdim=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    outside[..., 0] = False  # a top-p too small for float32 is 0 there
    return probabilities.scatter(-1, order, ordered.masked_fill(outside, 0.0))


def is_repetitive(ids: Sequence[int]) -> bool:
    """Whether the text has got stuck; looked at now and then, as it gets longer by one."""
    if not ids:
        return False
    window = ids[-REPETITION_WINDOW:] if len(ids) % REPETITION_WINDOW == 0 else ()
    if window and len(set(window)) < REPETITION_DISTINCT:
        return True
    return len(ids) % LOOP_PERIOD == 0 and len(ids) >= LOOP_TOKENS and _is_loop(ids[-LOOP_TOKENS:])


def ends_in_loop(ids: Sequence[int]) -> bool:
    """Whether an answer that reached its limit was repeating itself: the last 24 tokens or more,
    three times over at least. Too little to stop an answer for, enough to say what it died of."""
    periods = range(1, len(ids) // TAIL_TIMES + 1)
    tails = ((p, ids[-max(TAIL_TOKENS, TAIL_TIMES * p) :]) for p in periods)
    return len(ids) >= TAIL_TOKENS and any(tail[:-p] == tail[p:] for p, tail in tails)


def _is_loop(ids: Sequence[int]) -> bool:
    """Whether the tokens repeat with some short period."""
    return any(ids[:-p] == ids[p:] for p in range(1, LOOP_PERIOD + 1))


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that end an answer."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    ids = configured if isinstance(configured, list) else [configured]
    return {i for i in [*ids, tokenizer.eos_token_id] if i is not None}
