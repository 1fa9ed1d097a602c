"""The streaming rule and the attention function that serves training and inference.

One function is registered with transformers under the name `rlkv`. Per call it does one of
three things, decided by what it is handed and by nothing global, so that any number of chats
and masks share one model:

- a split cache handed over its new tokens: attention of `rlkv.cache`, per head full or window;
- gates are attached and enabled: mixed attention, two softmaxes, for training;
- neither: stock SDPA attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from rlkv.gates import Gates

NAME = "rlkv"
GATES_ATTRIBUTE = "_rlkv_gates"


class StreamingWindow:
    """Which keys a compressed head sees, one rule for rollout, loss, prefill and decode.

    Key j is visible to query i iff j <= i and (j < sink or i - j < recent), both counted from
    the first real token of the row. `recent` includes the query itself.
    """

    def __init__(self, sink: int, recent: int) -> None:
        self.sink = sink
        self.recent = recent
        self._last: tuple[object, int, int, torch.Tensor] | None = None

    def visible(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """The rule on broadcastable tensors of positions; negative positions are padding."""
        near = (key < self.sink) | (query - key < self.recent)
        return (key >= 0) & (key <= query) & near

    def mask(self, padding: torch.Tensor | None, queries: int, keys: int) -> torch.Tensor:
        """bool `[batch or 1, 1, queries, keys]` for the last `queries` of `keys` columns.

        `padding` is the bool mask `[batch, 1, queries, keys]` that transformers made, or None
        without padding. All layers of a forward pass share it, so the last result is kept.
        """
        last = self._last
        if last and last[0] is padding and last[1:3] == (queries, keys):
            return last[3]
        device = None if padding is None else padding.device
        column = torch.arange(keys, device=device)
        start = row_starts(padding) if padding is not None else torch.zeros(1, dtype=torch.long)
        position = column - start[:, None]  # [batch, keys]
        query = position[:, None, keys - queries :, None]
        mask = self.visible(query, position[:, None, None, :])
        # A padding query sees itself: an empty row of a softmax is NaN on some kernels.
        mask |= column[keys - queries :, None] == column
        self._last = (padding, queries, keys, mask)
        return mask


def row_starts(padding: torch.Tensor) -> torch.Tensor:
    """Column of each row's first real token `[batch]`, from a mask `[batch, 1, queries, keys]`.

    The last query is causal to every column, so its row of the mask is the padding mask. A
    row without any real token yet starts after the last column.
    """
    real = padding[:, 0, -1]  # [batch, keys]
    first = real.int().argmax(-1)
    return torch.where(real.any(-1), first, real.shape[-1])


def grouped_sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
) -> torch.Tensor:
    """Attention of query heads in groups over their KV head, `[B, h, G, T, D]` in and out.

    `key` and `value` are `[B, h, K, D]`, `mask` is bool, broadcastable to `[B, 1, T, K]`. No
    mask means causal from the first column when T = K, else every key is visible to all.
    One query token is folded into the group, so that a KV head's keys are read once and
    never repeated; `enable_gqa` is several times slower on CPU.
    """
    batch, heads, group, length, dim = query.shape
    if length == 1 or group == 1:
        folded = query.reshape(batch, heads, group * length, dim)
        causal = mask is None and length > 1 and length == key.shape[2]
        out = scaled_dot_product_attention(
            folded, key, value, attn_mask=mask, is_causal=causal, scale=scaling
        )
        return out.view(batch, heads, group, length, value.shape[-1])
    out = scaled_dot_product_attention(
        query.reshape(batch, heads * group, length, dim),
        key.repeat_interleave(group, dim=1),
        value.repeat_interleave(group, dim=1),
        attn_mask=mask,
        is_causal=mask is None and length == key.shape[2],
        scale=scaling,
    )
    return out.view(batch, heads, group, length, value.shape[-1])


@dataclass(frozen=True)
class NewTokens:
    """What a split cache hands to the attention function in place of the keys."""

    layer: SplitLayer
    keys: torch.Tensor  # [B, kv_heads, T, D]
    values: torch.Tensor


class SplitLayer(Protocol):
    """The side of a split cache layer that attention talks to."""

    def attend(
        self, query: torch.Tensor, new: NewTokens, mask: torch.Tensor | None, scaling: float | None
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
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The registered function: `[B, heads, T, D]` queries in, `[B, T, heads, D]` out."""
    gates: Gates | None = getattr(module, GATES_ATTRIBUTE, None)
    if isinstance(key, NewTokens):
        grouped = _grouped(query, key.keys.shape[1])
        return _ungrouped(key.layer.attend(grouped, key, attention_mask, scaling)), None
    if gates is not None and gates.enabled:
        layer: int = module.layer_idx  # type: ignore[assignment]  # of every attention module
        return _mixed(gates, layer, query, key, value, attention_mask, scaling), None
    out, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    return out, None


def _mixed(
    gates: Gates,
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None,
) -> torch.Tensor:
    """`a * full + (1 - a) * streaming`, mixed before the output projection."""
    length, keys, kv_heads = query.shape[2], key.shape[2], key.shape[1]
    if attention_mask is None and 1 < length != keys:
        raise ValueError("a chunk of a longer sequence needs a mask; transformers gave none")
    grouped = _grouped(query, kv_heads)
    if length > 1:  # repeated once for both branches
        group = grouped.shape[2]
        key, value = (x.repeat_interleave(group, dim=1) for x in (key, value))
        grouped = query[:, :, None]
    local = gates.window.mask(attention_mask, length, keys)
    full_out = grouped_sdpa(grouped, key, value, attention_mask, scaling)
    local_out = grouped_sdpa(grouped, key, value, local.to(query.device), scaling)
    gate = gates.effective()[layer].to(query.dtype)
    gate = gate.repeat_interleave(full_out.shape[1] // kv_heads)[:, None, None, None]
    return _ungrouped(torch.lerp(local_out, full_out, gate))


def _grouped(query: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """`[B, heads, T, D]` to `[B, kv_heads, G, T, D]`: query head i reads KV head i // G."""
    batch, heads, length, dim = query.shape
    return query.view(batch, kv_heads, heads // kv_heads, length, dim)


def _ungrouped(out: torch.Tensor) -> torch.Tensor:
    """`[B, kv_heads, G, T, D]` to the `[B, T, heads, D]` that models expect."""
    return out.flatten(1, 2).transpose(1, 2).contiguous()


def attention_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The attention modules of a decoder, one a layer, in order."""
    for module in model.modules():
        if hasattr(module, "layer_idx") and hasattr(module, "o_proj"):
            yield module


def enable(model: PreTrainedModel) -> None:
    """Switches a loaded model to this attention function; without gates it computes the same."""
    if model.config._attn_implementation != NAME:
        model.set_attn_implementation(NAME)


AttentionInterface.register(NAME, rlkv_attention)
# Without an entry here transformers would build no mask at all, even for padded batches.
AttentionMaskInterface.register(NAME, sdpa_mask)
