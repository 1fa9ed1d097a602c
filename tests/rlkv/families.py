"""One tiny random model per supported family, and dense references to compare with."""

from __future__ import annotations

from copy import deepcopy

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

LAYERS, QUERY_HEADS, KV_HEADS, VOCAB = 3, 8, 4, 97

_SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": QUERY_HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,  # large enough for attention far from uniform
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}

CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**_SIZES),
    "qwen2": Qwen2Config(**_SIZES),
    "qwen3": Qwen3Config(**_SIZES, head_dim=16),
    "mistral": MistralConfig(**_SIZES, sliding_window=None),
}


def tiny(family: str, attention: str = "rlkv") -> PreTrainedModel:
    """The family's random model; the same weights at every call."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(deepcopy(CONFIGS[family]), dtype=torch.float32)
    model.set_attn_implementation(attention)
    return model.eval().requires_grad_(False)


def batch(rows: int, length: int, pads: list[int] | None = None) -> dict[str, torch.Tensor]:
    """Random ids `[rows, length]`, the first `pads[r]` of row r padded away."""
    ids = torch.randint(2, VOCAB, (rows, length), generator=torch.Generator().manual_seed(rows))
    attention = torch.ones_like(ids)
    for row, pad in enumerate(pads or []):
        ids[row, :pad], attention[row, :pad] = 0, 0
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": attention, "position_ids": positions}


def streaming_mask(attention: torch.Tensor, sink: int, recent: int) -> torch.Tensor:
    """The streaming rule written out per element: bool `[rows, T, T]`, queries then keys."""
    rows, length = attention.shape
    mask = torch.zeros(rows, length, length, dtype=torch.bool)
    for row in range(rows):
        start = int(attention[row].argmax())
        for i in range(length):
            for j in range(start, i + 1):
                mask[row, i, j] = j - start < sink or i - j < recent
    return mask


def causal_mask(attention: torch.Tensor) -> torch.Tensor:
    """Causal and padding, bool `[rows, T, T]`."""
    length = attention.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return causal & attention[:, None, :].bool()


class DensePerHead:
    """Reference: stock eager-style attention with one dense mask per layer and KV head.

    Written apart from the product: full scores, one mask, one softmax.
    """

    def __init__(self, kept: torch.Tensor, sink: int, recent: int, attention: torch.Tensor) -> None:
        full, local = causal_mask(attention), streaming_mask(attention, sink, recent)
        group = QUERY_HEADS // KV_HEADS
        # [layers, rows, query heads, T, T]
        per_head = torch.where(kept[:, None, :, None, None], full[:, None], local[:, None])
        self.masks = per_head.repeat_interleave(group, dim=2)

    def __call__(self, module, query, key, value, attention_mask, scaling, **kwargs):
        group = QUERY_HEADS // KV_HEADS
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        scores = query @ key.transpose(-1, -2) * scaling
        mask = self.masks[module.layer_idx]
        weights = scores.masked_fill(~mask, -1e9).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), None
