"""What is said of models before they are loaded, against the models themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from rlkv import headroom, model_facts
from rlkv.errors import UserError
from rlkv.known_models import KNOWN, KnownModel, known
from rlkv.layout import examine
from rlkv.model_facts import ModelFacts, read_facts, require_loadable
from rlkv.models import load_model
from rlkv.weights import Stopped, count_parameters, fetch
from tests.rlkv.families import tiny
from tests.rlkv.hub_client import python, use
from tests.rlkv.hub_stand_in import HubStandIn, hub

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": (
        "llama",
        {
            "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
            "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
            "tie_word_embeddings": True,
        },
    ),
    "Qwen/Qwen3-4B-Thinking-2507": (
        "qwen3",
        {
            "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
            "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
            "head_dim": 128, "tie_word_embeddings": True,
        },
    ),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": (
        "qwen2",
        {
            "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
            "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
            "tie_word_embeddings": False,
        },
    ),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": (
        "llama",
        {
            "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "tie_word_embeddings": False,
        },
    ),
}  # fmt: skip


def of_memory(monkeypatch: pytest.MonkeyPatch, *, free: int, total: int = 25_000_000_000) -> None:
    """A machine with so much memory."""
    monkeypatch.setattr(headroom, "free_bytes", lambda device: free)
    monkeypatch.setattr(headroom, "total_bytes", lambda device: total)


@pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.name)
def test_written_facts_are_the_models(entry: KnownModel) -> None:
    if entry.ref == "tracer":
        model, _ = load_model("tracer")
        config, parameters = model.config, sum(p.numel() for p in model.parameters())
        assert config.max_position_embeddings == entry.context
    else:
        family, sizes = CONFIGS[entry.ref]
        config = AutoConfig.for_model(family, **sizes)
        parameters = count_parameters(config)
        assert 0 <= entry.download - 2 * parameters < 100_000  # bfloat16, and the files' headers
    layout = examine(config)
    assert (entry.layers, entry.kv_heads) == layout.shape
    assert entry.head_dim == layout.layers[0].head_dim
    assert entry.parameters == parameters


def test_a_folder_is_read_from_its_configuration_alone(tmp_path: Path) -> None:
    model = tiny("qwen3")
    model.config.save_pretrained(tmp_path)  # no weights
    facts = read_facts(str(tmp_path))
    assert facts.parameters == sum(p.numel() for p in model.parameters())
    assert (facts.layers, facts.kv_heads) == examine(model.config).shape
    assert facts.place == "folder"
    assert facts.dtype == "float32"
    assert facts.weights == 4 * facts.parameters
    assert facts.weights < facts.need < 1.3 * facts.weights


@pytest.mark.real_model
@pytest.mark.skipif("RLKV_REAL_MODEL" not in os.environ, reason="RLKV_REAL_MODEL names no file")
def test_a_gguf_file_is_what_is_known_of_that_model() -> None:
    facts = read_facts(os.environ["RLKV_REAL_MODEL"])
    entry = known("HuggingFaceTB/SmolLM2-135M-Instruct")
    assert entry is not None
    assert (facts.parameters, facts.gates, facts.context, facts.place) == (
        entry.parameters, 90, entry.context, "file"
    )  # fmt: skip


def test_what_cannot_fit_is_refused_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    of_memory(monkeypatch, free=1_500_000_000)
    facts = read_facts("random:llama-135m")
    assert facts.weights == 538_060_032
    with pytest.raises(UserError, match=r"takes 673 MB of memory.*250 MB is free: unload"):
        require_loadable(facts)
    of_memory(monkeypatch, free=2_000_000_000)
    require_loadable(facts)
    of_memory(monkeypatch, free=500_000_000, total=600_000_000)
    with pytest.raises(UserError, match="this machine has 600 MB in all: choose a smaller model"):
        require_loadable(facts)


def test_the_embedded_model_is_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    of_memory(monkeypatch, free=0)
    require_loadable(read_facts("tracer"))


def test_a_known_model_shows_its_facts_without_a_network() -> None:
    facts = read_facts("Qwen/Qwen3-4B-Thinking-2507")
    assert (facts.gates, facts.place, facts.download) == (288, "hub", 8_044_936_192)
    assert "not on this machine" in facts.obstacle
    with pytest.raises(UserError, match="work offline"):
        require_loadable(facts)


def test_a_download_needs_room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    of_memory(monkeypatch, free=10**12, total=10**12)
    monkeypatch.setattr(model_facts, "_free_on_disk", lambda: 7 * 10**9)
    facts = ModelFacts(
        "a/b", 10**9, 2, 2, 64, 1024, "hub", 8 * 10**9, "", "cpu", "float32", 4 * 10**9, 10**9
    )
    with pytest.raises(UserError, match=r"download of 8.0 GB, and the disk has 7.0 GB free"):
        require_loadable(facts)


@pytest.mark.parametrize("ref", ["no/such-model", "/nowhere/at/all", "a b", "random:huge"])
def test_what_is_no_model_gets_one_clear_line(ref: str) -> None:
    with pytest.raises(UserError) as caught:
        read_facts(ref)
    assert "\n" not in str(caught.value)


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[HubStandIn]]:
    """A Hub with a model, whose connection breaks where a test says."""
    with hub() as (endpoint, stand_in):
        use(monkeypatch, endpoint, tmp_path / "hf")
        stand_in.repos["org/model"] = {"config.json": b"{}", "model.safetensors": bytes(100_000)}
        yield stand_in


def test_a_download_whose_connection_breaks_is_one_line(breaking: type[HubStandIn]) -> None:
    breaking.breaks = "model.safetensors"
    with pytest.raises(UserError, match="'org/model' can't be downloaded: ") as caught:
        fetch("org/model", lambda n: None, lambda: False)
    assert not isinstance(caught.value.__cause__, OSError | ValueError)
    with pytest.raises(Stopped):
        fetch("org/model", lambda n: None, lambda: True)


def test_a_size_that_cannot_be_asked_for_is_an_obstacle(breaking: type[HubStandIn]) -> None:
    breaking.breaks = "/revision/main"
    size, obstacle = model_facts._way_here("org/model", None)
    assert size == 0
    assert obstacle.startswith("'org/model' can't be fetched: [Errno")


FETCH = """
import json, os
from rlkv.model_facts import read_facts
from rlkv.models import load_model
from rlkv.weights import Stopped, fetch
before, seen = read_facts("org/model"), []
try:
    fetch("org/model", seen.append, lambda: bool(seen))
    raise AssertionError("it was not stopped")
except Stopped:
    stopped = read_facts("org/model").place
fetch("org/model", seen.append, lambda: False)
after = read_facts("org/model")
os.environ["RLKV_OFFLINE"] = "1"  # everything that loading needs has been fetched
load_model("org/model")
print(json.dumps([before.place, before.download, before.parameters, stopped, max(seen),
                  after.place, after.download]))
"""


@pytest.mark.slow
def test_a_hub_model_is_sized_fetched_stopped_and_fetched_to_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = tiny("llama")
    model.save_pretrained(folder)
    load_model("tracer")[1].save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    size = sum(map(len, files.values()))
    with hub() as (endpoint, stand_in):
        stand_in.repos["org/model"] = {**files, "pytorch_model.bin": b"never fetched" * 1000}
        told = json.loads(python(FETCH, endpoint, tmp_path).splitlines()[-1])
    place, download, parameters, stopped, seen, after, left = told
    config = len(files["config.json"])  # read_facts has fetched that one
    assert (place, download) == ("hub", size - config)
    assert parameters == model.num_parameters()
    assert stopped == "hub"
    assert seen >= len(files["model.safetensors"])
    assert (after, left) == ("cache", 0)
