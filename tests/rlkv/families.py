"""One tiny random model per kind of decoder, and dense references to compare with.

Each has three layers with full attention and four KV heads; hybrids have sliding layers between.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    SmolLM3Config,
)

LAYERS, QUERY_HEADS, KV_HEADS, VOCAB = 3, 8, 4, 97

_SIZES: dict[str, Any] = {
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
_EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
_HYBRID: dict[str, Any] = {
    **_SIZES,
    "num_hidden_layers": 5,
    "layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"],
    "sliding_window": 6,
    "head_dim": 16,
}
_GPT2: dict[str, Any] = {"n_embd": 64, "n_layer": LAYERS, "n_head": KV_HEADS, "n_positions": 512}
_COMMON = {k: _SIZES[k] for k in ("vocab_size", "initializer_range", "pad_token_id")}

CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**_SIZES),
    "qwen2": Qwen2Config(**_SIZES),
    "qwen3": Qwen3Config(**_SIZES, head_dim=16),
    "mistral": MistralConfig(**_SIZES, sliding_window=None),
    "smollm3": SmolLM3Config(**_SIZES, no_rope_layers=[1, 0, 1]),
    "phi3": Phi3Config(**_SIZES),
    "gpt2": GPT2Config(**_GPT2, **_COMMON, eos_token_id=1, bos_token_id=None),
    "mixtral": MixtralConfig(**_SIZES, **_EXPERTS),
    "qwen3_moe": Qwen3MoeConfig(
        **_SIZES, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32
    ),
    "gemma2": Gemma2Config(**_HYBRID, attn_logit_softcapping=5.0, query_pre_attn_scalar=16),
    "gemma3": Gemma3TextConfig(**_HYBRID, query_pre_attn_scalar=16),
    "gpt_oss": GptOssConfig(**_HYBRID, **_EXPERTS),
}

WIDE_HEADS = {"qwen3", "qwen3_moe", "gemma2", "gemma3", "gpt_oss", "gpt2"}
"""Head size 16; the others 8."""
STOCK = {"gemma2": "eager", "gpt_oss": "eager"}
"""transformers' own attention, where SDPA can't do it."""


def tiny(family: str, attention: str = "rlkv", **changes: Any) -> PreTrainedModel:
    """The family's random model; the same weights at every call. "stock" is transformers' own.

    `changes` are made to its configuration.
    """
    if attention == "stock":
        attention = STOCK.get(family, "sdpa")
    torch.manual_seed(0)
    config = deepcopy(CONFIGS[family])
    for name, value in changes.items():
        setattr(config, name, value)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
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
    """Reference: eager-style attention with one dense mask per layer and KV head.

    Written apart from the product: full scores, one mask, one softmax.
    """

    def __init__(self, kept: torch.Tensor, sink: int, recent: int, attention: torch.Tensor) -> None:
        self.attention = attention
        full, local = causal_mask(attention), streaming_mask(attention, sink, recent)
        # [layers, rows, KV heads, T, T]
        self.masks = torch.where(kept[:, None, :, None, None], full[:, None], local[:, None])
        self.rows: dict[int, int] = {}

    def __call__(
        self, module, query, key, value, attention_mask, scaling,
        sliding_window=None, softcap=None, s_aux=None, **kwargs,
    ):  # fmt: skip
        if sliding_window is None:
            mask = self.masks[self.rows.setdefault(module.layer_idx, len(self.rows))]
        else:
            mask = streaming_mask(self.attention, 0, sliding_window)[:, None]
        group = query.shape[1] // key.shape[1]
        if mask.shape[1] > 1:
            mask = mask.repeat_interleave(group, 1)
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        scores = query @ key.transpose(-1, -2) * (scaling or query.shape[-1] ** -0.5)
        if softcap is not None:
            scores = (scores / softcap).tanh() * softcap
        scores = scores.masked_fill(~mask, -1e9)
        total = scores.exp().sum(-1, keepdim=True)
        if s_aux is not None:
            total = total + s_aux.exp()[:, None, None]
        return (scores.exp() / total.clamp(min=1e-30) @ value).transpose(1, 2).contiguous(), None
