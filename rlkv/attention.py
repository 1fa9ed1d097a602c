"""The attention function that serves training and inference.

One function is registered with transformers under the name `rlkv`. Per call it does one of
three things, decided by what it is handed and by nothing global, so that any number of chats
and masks share one model:

- a split cache handed over its new tokens: attention of `rlkv.cache`, per head full or window;
- gates are attached and enabled: mixed attention, two softmaxes, for training;
- neither: the model's own attention, full or with the layer's sliding window.

Two more things may be handed to a single forward pass, as keywords: `rlkv_watch`, somebody who
looks on (`Watcher`), and `rlkv_gates`, gates for that pass alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from rlkv.errors import UserError
from rlkv.grouped import ScoreRule, grouped_attention
from rlkv.padding import Rows, padding_mask
from rlkv.streaming import StreamingWindow, streaming_attention

if TYPE_CHECKING:
    from rlkv.gates import Gates

NAME = "rlkv"
GATES_ATTRIBUTE = "_rlkv_gates"


Watcher = Callable[[nn.Module, torch.Tensor, torch.Tensor, ScoreRule, int | None], None]
"""Called by every layer before it attends: its module, queries `[B, heads, T, D]` and keys
`[B, kv_heads, K, D]` as attention uses them (after RoPE and norms; with a split cache the new keys
only), the rule, and the layer's sliding window or None."""


class Inputs(NamedTuple):
    """What one attention call works on when no split cache is there."""

    query: torch.Tensor  # [B, kv_heads, G, T, D]
    key: torch.Tensor  # [B, kv_heads, K, D]
    value: torch.Tensor
    mask: torch.Tensor | None = None
    starts: Sequence[int] | None = None
    """Column of each row's first real token; None without padding, or if the mask says it all."""
    whole: bool = True
    """No padding between a row's real tokens."""


class NewTokens(NamedTuple):
    """What a split cache hands to the attention function in place of the keys."""

    layer: SplitLayer
    keys: torch.Tensor  # [B, kv_heads, T, D]
    values: torch.Tensor


class SplitLayer(Protocol):
    """The side of a split cache layer that attention talks to."""

    def attend(
        self, query: torch.Tensor, new: NewTokens, mask: torch.Tensor | None, rule: ScoreRule
    ) -> torch.Tensor:
        """Stores the new tokens and attends `[B, kv_heads, G, T, D]`, in and out."""
        ...


def rlkv_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor | NewTokens,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    rlkv_watch: Watcher | None = None,
    rlkv_gates: Mapping[nn.Module, tuple[Gates, int]] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The registered function: `[B, heads, T, D]` queries in, `[B, T, heads, D]` out.

    `sliding_window`, `softcap` and `s_aux` (learned sink logits, one a query head) come from
    layers that have them. Attention dropout is not applied: the model is frozen. `rlkv_gates` (and
    the row of each module in them) take the place of attached gates in this pass.
    """
    keys = key.keys if isinstance(key, NewTokens) else key
    heads = keys.shape[1]
    logits = None if s_aux is None else s_aux.view(heads, -1)
    rule = ScoreRule(scaling, softcap, logits)
    if rlkv_watch is not None:
        rlkv_watch(module, query, keys, rule, sliding_window)
    if isinstance(key, NewTokens):
        out = key.layer.attend(_grouped(query, heads), key, attention_mask, rule)
        return _ungrouped(out), None
    known: tuple[Gates, int] | None = (
        module.__dict__.get(GATES_ATTRIBUTE) if rlkv_gates is None else rlkv_gates.get(module)
    )

    def attend(inputs: Inputs) -> torch.Tensor:
        if known is not None:
            return _mixed(inputs, *known, rule)
        return _own(inputs, sliding_window, rule)

    return _ungrouped(_aligned(query, keys, value, attention_mask, attend)), None


def _mixed(inputs: Inputs, gates: Gates, row: int, rule: ScoreRule) -> torch.Tensor:
    """`a * full + (1 - a) * streaming`, mixed before the output projection."""
    query, key, value, mask, starts, whole = inputs
    if mask is not None and starts is None:
        raise UserError("Gates need plain causal attention, not a mask of one's own.")
    if not whole:
        raise UserError("Gates need rows without padding between their tokens.")
    full = grouped_attention(query, key, value, mask, rule)
    local = streaming_attention(query, key, value, gates.window, starts, rule)
    gate = gates.effective()[row].to(query.dtype)
    return torch.lerp(local, full, gate[:, None, None, None])


def _own(inputs: Inputs, sliding_window: int | None, rule: ScoreRule) -> torch.Tensor:
    """What the layer computes by itself."""
    query, key, value, mask, starts, whole = inputs
    exact = mask is not None and starts is None  # the mask says it all
    if sliding_window is None or key.shape[2] <= sliding_window or exact:
        return grouped_attention(query, key, value, mask, rule)
    window = StreamingWindow(0, sliding_window)
    return streaming_attention(query, key, value, window, starts, rule, None if whole else mask)


def _aligned(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    attend: Callable[[Inputs], torch.Tensor],
) -> torch.Tensor:
    """Calls `attend` with grouped queries, on rows moved to the front where that saves the mask."""
    heads, length = key.shape[1], query.shape[2]
    if mask is None:
        return attend(Inputs(_grouped(query, heads), key, value))
    if length > 1 and mask.shape[2] == length:
        return attend(Inputs(_grouped(query, heads), key, value, mask))
    rows = Rows.of(mask)
    if length == 1 or length != key.shape[2] or not rows.whole:
        return attend(Inputs(_grouped(query, heads), key, value, mask, rows.starts, rows.whole))
    query, key, value = (rows.to_front(x) for x in (query, key, value))
    out = attend(Inputs(_grouped(query, heads), key, value))
    return rows.back(out.flatten(1, 2)).view(out.shape)


def _grouped(query: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """`[B, heads, T, D]` to `[B, kv_heads, G, T, D]`: query head i reads KV head i // G."""
    batch, heads, length, dim = query.shape
    return query.view(batch, kv_heads, heads // kv_heads, length, dim)


def _ungrouped(out: torch.Tensor) -> torch.Tensor:
    """`[B, kv_heads, G, T, D]` to the `[B, T, heads, D]` that models expect."""
    batch, kv_heads, group, length, dim = out.shape
    if length == 1:
        return out.reshape(batch, 1, kv_heads * group, dim)
    return out.flatten(1, 2).transpose(1, 2).contiguous()


def enable(model: PreTrainedModel) -> None:
    """Switches a loaded model to this attention function; without gates it computes the same."""
    # cuDNN's attention makes a plan for every shape it meets, and a cache has another length at
    # every token: on an H100 that made decoding with this cache several times slower.
    torch.backends.cuda.enable_cudnn_sdp(False)
    if model.config._attn_implementation != NAME:
        model.set_attn_implementation(NAME)


AttentionInterface.register(NAME, rlkv_attention)
AttentionMaskInterface.register(NAME, padding_mask)
