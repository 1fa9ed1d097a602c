"""Attention weights themselves, which methods that drop tokens rank tokens by."""

from __future__ import annotations

import torch

from rlkv.grouped import ScoreRule


def scores(query: torch.Tensor, key: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
    """float32 products `[B, h, G, T, K]` of `[B, h, G, T, D]` and `[B, h, K, D]`, scaled."""
    batch, heads, group, length, dim = query.shape
    scaling = dim**-0.5 if rule.scaling is None else rule.scaling
    products = (query.flatten(2, 3) @ key.transpose(-1, -2)).float() * scaling
    if rule.softcap is not None:
        products = rule.softcap * torch.tanh(products / rule.softcap)
    return products.view(batch, heads, group, length, key.shape[2])


def softmax(found: torch.Tensor, visible: torch.Tensor | None, rule: ScoreRule) -> torch.Tensor:
    """Weights of `scores`, in place where possible; 0 where `visible` is False.

    Args:
        visible: bool, broadcastable to `[B, h, G, T, K]`; None if all is visible.

    Returns:
        float32, each row summing to 1, or to less where learned sink logits take the rest.
    """
    if visible is not None:
        # Not -inf: a row without any visible key would be NaN, and spread through its values.
        found = found.masked_fill_(~visible, torch.finfo(found.dtype).min)
    if rule.sink_logits is None:
        return found.softmax(-1)
    logits = rule.sink_logits.float()[None, :, :, None, None]
    with_sinks = torch.cat([found, logits.expand(*found.shape[:-1], 1)], dim=-1)
    return with_sinks.softmax(-1)[..., :-1]


def summed(weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The values `[B, h, K, D]` by weight, `[B, h, G, T, D]` in their number format."""
    out = weights.flatten(2, 3).to(value.dtype) @ value
    return out.view(*weights.shape[:4], value.shape[3])
