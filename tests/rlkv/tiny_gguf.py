"""A tiny model as a GGUF file, made here as llama.cpp's converter makes them: no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from gguf import GGUFWriter

from tests.rlkv.dialogue.tokenisers import byte_level
from tests.rlkv.families import tiny

CONTEXT = 2048
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
"""Of a Llama, after `model.layers.N.` where that stands before."""


def write_gguf(path: Path) -> Any:
    """Writes a random Llama of 3 layers with 4 KV heads, one token a byte; returns that model."""
    words = byte_level().get_vocab()
    words["th"] = len(words)
    model = tiny(
        "llama", "stock", vocab_size=len(words), eos_token_id=None,
        max_position_embeddings=CONTEXT,
    )  # fmt: skip
    writer = GGUFWriter(path, "llama")
    _describe(writer, model.config)
    tokens = sorted(words, key=words.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_merges(["t h"])  # without any, transformers looks for scores
    writer.add_token_types([3 if token == "</s>" else 1 for token in tokens])  # control, normal
    writer.add_eos_token_id(words["</s>"])
    for name, weight in model.state_dict().items():
        writer.add_tensor(_named(name), _turned(name, weight, model.config).float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _describe(writer: GGUFWriter, config: Any) -> None:
    writer.add_context_length(CONTEXT)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _named(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    layer, _, part = name.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{NAMES[part]}"


def _turned(name: str, weight: torch.Tensor, config: Any) -> torch.Tensor:
    """llama.cpp turns pairs of neighbours where transformers turns halves: rows of queries and keys
    lie in another order in the file."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, count in heads.items():
        if f".{part}." in name:
            halves = weight.reshape(count, 2, weight.shape[0] // count // 2, weight.shape[1])
            return halves.swapaxes(1, 2).reshape(weight.shape)
    return weight
