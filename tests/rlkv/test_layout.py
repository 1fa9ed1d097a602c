"""What a model's code says of its attention, and what is refused."""

import re
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from rlkv.layout import Unserved, examine, layout_of
from tests.rlkv.families import CONFIGS, KV_HEADS, LAYERS, WIDE_HEADS, tiny


@pytest.mark.parametrize("family", CONFIGS)
def test_the_matrix_is_served(family: str) -> None:
    layout = examine(CONFIGS[family])
    assert layout.shape == (LAYERS, KV_HEADS)
    full = [layout.layers[i] for i in layout.gated]
    assert {layer.head_dim for layer in full} == {16 if family in WIDE_HEADS else 8}
    model = tiny(family)
    for layer in layout.layers:
        assert model.get_submodule(layer.module).layer_idx is not None


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "gpt_oss"])
def test_hybrids_have_gates_on_full_layers_alone(family: str) -> None:
    layout = examine(CONFIGS[family])
    assert layout.gated == (1, 3, 4)
    assert [layer.window for layer in layout.layers] == [6, None, 6, None, None]
    assert layout.sliding_numbers(4) == 2 * (2 * 16 * KV_HEADS * 4)
    assert layout.sliding_numbers(100) == 2 * (2 * 16 * KV_HEADS * 6)


DOCS = (Path(__file__).parent.parent.parent / "docs" / "models.md").read_text()


def documented(heading: str) -> list[str]:
    """The kinds of model that docs/models.md lists under one or more bold headings."""
    entries = re.findall(rf"- \*\*{heading}.*?:\*\*(.*?)(?=\n- |\n\n)", DOCS, re.DOTALL)
    return re.findall(r"`(\w+)`", " ".join(entries))


@pytest.mark.parametrize("family", documented("Served"))
def test_documented_models_are_served_and_examined_at_once(family: str) -> None:
    begun = time.monotonic()
    layout = examine(AutoConfig.for_model(family))
    assert layout.gated
    assert time.monotonic() - begun < 10  # a fraction of a second on an idle machine


@pytest.mark.parametrize("family", documented("Refused"))
def test_documented_refusals(family: str) -> None:
    with pytest.raises(Unserved):
        examine(AutoConfig.for_model(family))


def test_the_documented_lists_are_there() -> None:
    assert len(documented("Served")) > 40
    assert len(documented("Refused")) > 10


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("mamba", "layers of another kind .linear_attention"),
        ("qwen3_next", "layers of another kind .linear_attention"),
        ("llama4_text", "layers of another kind .chunked_attention"),
        ("deepseek_v3", "keys and values differ in size"),
        ("mistral", "all its layers have a sliding window"),
        ("bert", "neither causal nor a plain sliding window"),
        ("bloom", "can't be followed"),
        ("gemma3n_text", "layer 18 runs attention more than once"),
    ],
)
def test_what_cannot_be_served_says_why(family: str, reason: str) -> None:
    with pytest.raises(Unserved, match=reason):
        examine(AutoConfig.for_model(family))


def test_examining_takes_no_memory_and_changes_nothing() -> None:
    config = AutoConfig.for_model("llama", num_hidden_layers=126, hidden_size=16384)  # 200 GB
    before = config.to_json_string()
    assert len(examine(config).layers) == 126
    assert config.to_json_string() == before
    assert config._attn_implementation is None or "probe" not in config._attn_implementation


def test_a_loaded_model_is_examined_once() -> None:
    model = tiny("llama")
    assert layout_of(model) is layout_of(model)
    assert torch.get_default_device().type == "cpu"
