"""A model with weights written by hand: layer 1, KV head 1 is an induction head, no other is.

Layer 0, KV head 0 looks at the previous token and writes down what it was; layer 1, KV head 1 has
no positions and looks for tokens whose previous one is the current one. The hidden state holds the
token in its first half and the previous token in its second.
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, SmolLM3Config

VOCAB, HALF = 80, 64
INDUCTION = (1, 1)
"""Layer and KV head."""


@torch.no_grad()
def induction_model() -> PreTrainedModel:
    """Two layers of two KV heads, each with two query heads of which the second looks nowhere."""
    torch.manual_seed(0)
    config = SmolLM3Config(
        vocab_size=VOCAB,
        hidden_size=2 * HALF,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=HALF,
        attention_bias=True,
        no_rope_layers=[1, 0],
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, weight in model.named_parameters():
        if "norm" not in name:
            weight.zero_()
    tokens = torch.nn.functional.normalize(torch.randn(VOCAB, HALF), dim=1)
    model.model.embed_tokens.weight[:, :HALF] = tokens
    first, second = (layer.self_attn for layer in model.model.layers)
    # q and k that hold only biases depend on the distance alone; turned by one position, they
    # agree best where the key is one before the query.
    cos, sin = model.model.rotary_emb(torch.zeros(1, 1, 1), torch.tensor([[1]]))
    one = torch.ones(HALF)
    turned = one * cos[0, 0] + torch.cat([-one[HALF // 2 :], one[: HALF // 2]]) * sin[0, 0]
    first.q_proj.bias[:HALF] = 4.0 * one
    first.k_proj.bias[:HALF] = 4.0 * turned
    identity = torch.eye(HALF)
    first.v_proj.weight[:HALF, :HALF] = identity
    first.o_proj.weight[HALF:, :HALF] = identity
    second.q_proj.weight[2 * HALF : 3 * HALF, :HALF] = 4.0 * identity
    second.k_proj.weight[HALF:, HALF:] = 4.0 * identity
    model.set_attn_implementation("rlkv")
    return model.eval().requires_grad_(False)
