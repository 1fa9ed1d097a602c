"""A small model to measure, a mask for it, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedModel,
)

from rlkv.attention import enable
from rlkv.cli import main
from rlkv.masks import HeadMask

ROOT = Path(__file__).parent.parent.parent
LAYERS, HEADS, HEAD_DIM = 2, 2, 8


def small(layers: int = LAYERS, heads: int = HEADS, head_dim: int = HEAD_DIM) -> PreTrainedModel:
    """A model that is little but KV: next to no MLP and no vocabulary."""
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head_dim,
        max_position_embeddings=4096,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    enable(model)
    return model.eval().requires_grad_(False)


def random_mask(sparsity: float, layers: int = LAYERS, heads: int = HEADS) -> HeadMask:
    return HeadMask.random(layers, heads, sparsity=sparsity, seed=0)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["bench", "--model", "tracer", *arguments, "--json"]) == code
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result
