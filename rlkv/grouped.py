"""Attention of query heads in groups over their KV head, without repeating keys where possible.

Everything here is exact softmax attention; what differs is the path to it: one new token folded
into its group, keys cut into parts so that no CPU thread idles, or long queries in blocks so that
no mask of queries x keys is ever built whole.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from rlkv.key_parts import in_parts, parts_for

QUERY_BLOCK = 512
"""Queries attended at once when a mask is needed: bounds the mask's memory."""
FLASH_WIDTHS = range(8, 257, 8)
"""Head sizes that the CUDA kernel takes as they are."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention.default
"""The kernel itself: the public function refuses a causal mask of fewer queries than keys."""


class ScoreRule(NamedTuple):
    """How a layer turns query-key products into weights."""

    scaling: float | None = None
    """Factor of the products; None is 1 / sqrt(head_dim)."""
    softcap: float | None = None
    """Bound of the products, `softcap * tanh(x / softcap)` (Gemma 2)."""
    sink_logits: torch.Tensor | None = None
    """Learned logits that take weight and give nothing, `[kv_heads, G]` (gpt-oss)."""

    @property
    def plain(self) -> bool:
        """Whether a fused kernel computes it."""
        return self.softcap is None and self.sink_logits is None

    def of_heads(self, heads: torch.Tensor) -> ScoreRule:
        """The rule for some KV heads, by index."""
        if self.sink_logits is None:
            return self
        return self._replace(sink_logits=self.sink_logits[heads])


def grouped_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: ScoreRule,
) -> torch.Tensor:
    """Attention of `[B, h, G, T, D]` over `[B, h, K, D]`, shaped like the query.

    Args:
        mask: bool, True where visible. `[B or 1, 1, T, K]` says it per query; with T > 1,
            `[B, 1, 1, K]` marks the keys that are no padding, and causality is added. None is
            causal: the last query sees every key.
    """
    length, keys = query.shape[3], key.shape[2]
    if length == 1:
        return _one_token(query, key, value, mask, rule)
    if rule.plain and mask is None and length == keys:
        return _fused(query, key, value, None, rule)
    if mask is None and _flash_takes(query, rule):
        out = _flash(query.flatten(1, 2), key, value, 0.0, True, scale=rule.scaling)[0]
        return out.view(query.shape)
    attend = _fused if rule.plain else _written_out
    outs = []
    for begin in range(0, length, QUERY_BLOCK):
        end = min(begin + QUERY_BLOCK, length)
        seen = keys - length + end  # keys beyond are in the future of the whole block
        block = _block_mask(mask, begin, end, length, keys, query.device)
        outs.append(
            attend(query[:, :, :, begin:end], key[:, :, :seen], value[:, :, :seen], block, rule)
        )
    return outs[0] if len(outs) == 1 else torch.cat(outs, dim=3)


def _flash_takes(query: torch.Tensor, rule: ScoreRule) -> bool:
    """Whether the CUDA kernel can be asked directly: causal, last query at last key."""
    half = query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)
    return half and rule.plain and query.shape[-1] in FLASH_WIDTHS and not query.requires_grad


def _block_mask(
    mask: torch.Tensor | None, begin: int, end: int, length: int, keys: int, device: torch.device
) -> torch.Tensor:
    """Mask `[B or 1, 1, end - begin, keys seen]` of some queries."""
    seen = keys - length + end
    if mask is not None and mask.shape[2] == length:
        return mask[:, :, begin:end, :seen]
    column = torch.arange(seen, device=device)
    row = column[seen - (end - begin) :, None]
    if mask is None:
        return (column <= row)[None, None]
    # A padding query sees itself: an empty row of a softmax is NaN on some kernels.
    return ((column <= row) & mask[..., :seen]) | (column == row)


def _one_token(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: ScoreRule,
) -> torch.Tensor:
    """The group folds into the query dimension, so that keys are read once for all of it."""
    if not rule.plain:
        return _written_out(query, key, value, mask, rule)
    folded = query.squeeze(3)  # [B, h, G, D]
    parts = parts_for(folded, key.shape[2], mask is not None)
    if parts > 1:
        out = in_parts(folded, key, value, mask, parts, rule.scaling)
    else:
        out = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=rule.scaling)
    return out.unsqueeze(3)


def _fused(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: ScoreRule,
) -> torch.Tensor:
    """A fused kernel on several queries; no mask means causal with T = K.

    The group goes in front of the batch, where one row's keys can be repeated as a view.
    """
    batch, heads, group, length, dim = query.shape
    if query.is_cuda and mask is None:
        out = scaled_dot_product_attention(
            query.flatten(1, 2),
            key,
            value,
            is_causal=True,
            scale=rule.scaling,
            enable_gqa=group > 1,
        )
        return out.view(batch, heads, group, length, dim)
    queries = query.permute(2, 0, 1, 3, 4).reshape(group * batch, heads, length, dim)
    if group > 1:
        key, value = (x.expand(group, *x.shape).flatten(0, 1) for x in (key, value))
        if mask is not None and mask.shape[0] > 1:
            mask = mask.repeat(group, 1, 1, 1)
    out = scaled_dot_product_attention(
        queries, key, value, attn_mask=mask, is_causal=mask is None, scale=rule.scaling
    )
    return out.view(group, batch, heads, length, dim).permute(1, 2, 0, 3, 4)


def _written_out(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: ScoreRule,
) -> torch.Tensor:
    """Scores, cap, softmax in float32 and sum, for rules that no fused kernel knows."""
    batch, heads, group, length, _ = query.shape
    scaling = query.shape[-1] ** -0.5 if rule.scaling is None else rule.scaling
    scores = (query.flatten(2, 3) @ key.transpose(-1, -2)).float() * scaling
    scores = scores.view(batch, heads, group, length, -1)
    if rule.softcap is not None:
        scores = rule.softcap * torch.tanh(scores / rule.softcap)
    if mask is not None:
        # Not -inf: a row without any visible key would be NaN, and spread through its values.
        scores = scores.masked_fill(~mask[:, :, None], torch.finfo(scores.dtype).min)
    if rule.sink_logits is not None:
        logits = rule.sink_logits.float()[None, :, :, None, None]
        scores = torch.cat([scores, logits.expand(*scores.shape[:-1], 1)], dim=-1)
    weights = scores.softmax(-1)[..., : key.shape[2]].to(value.dtype)
    return (weights.flatten(2, 3) @ value).view(query.shape)
