import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError, first_line
from rlkv.local_path import local_path
from rlkv.masks import HeadMask
from rlkv.model_facts import read_facts
from rlkv.models import EMBEDDED_FOLDER, load_model, model_spec, read_spec
from tests.rlkv.families import tiny


def test_the_embedded_model_is_small_and_offline() -> None:
    assert sum(p.stat().st_size for p in EMBEDDED_FOLDER.iterdir()) < 5_000_000
    model, tokenizer = load_model("tracer")
    spec = model_spec(model)
    assert spec == read_spec("tracer")
    assert (spec.layers, spec.kv_heads, spec.query_heads, spec.group) == (4, 8, 16, 2)
    assert spec.gates >= 32
    full = HeadMask.full(spec.layers, spec.kv_heads)
    assert spec.kv_bytes(full, 100, batch=3) == 3 * 100 * 2 * 16 * 4 * 32
    assert spec.name == "tracer"
    assert not any(p.requires_grad for p in model.parameters())
    assert tokenizer.padding_side == "left"


def test_the_embedded_tokenizer_reads_facts_as_one_token() -> None:
    _, tokenizer = load_model("tracer")
    ids = tokenizer("c=7; e:c-7", add_special_tokens=False)["input_ids"]
    assert len(ids) == 7
    assert tokenizer.decode(ids) == "c=7; e:c-7"


def test_a_local_folder_loads_and_keeps_its_reference(tmp_path: Path) -> None:
    tiny("qwen3").save_pretrained(tmp_path)
    load_model("tracer")[1].save_pretrained(tmp_path)
    model, _ = load_model(str(tmp_path), dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model_spec(model).ref == str(tmp_path)
    assert model_spec(model).itemsize == 2


def test_random_shapes_need_no_download() -> None:
    spec = read_spec("random:llama-135m")
    assert (spec.layers, spec.kv_heads, spec.head_dim) == (30, 3, 64)
    with pytest.raises(UserError, match="random shape"):
        read_spec("random:huge")


@pytest.mark.parametrize("ref", ["no/such-model", "./nowhere", "/nowhere/at/all", "x" * 200, "a b"])
def test_an_unknown_model_gets_one_clear_line(ref: str) -> None:
    with pytest.raises(UserError, match=r"model|not on this machine") as caught:
        read_spec(ref)
    assert "\n" not in str(caught.value)


def write_config(folder: Path, **config: object) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_an_unsupported_family_is_refused_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"jamba.*layers of another kind .linear_attention"):
        load_model(write_config(tmp_path, model_type="jamba"))


def test_sliding_window_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="all its layers have a sliding window"):
        load_model(write_config(tmp_path, model_type="mistral", sliding_window=4096))


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((EMBEDDED_FOLDER / "config.json").read_text())
    with pytest.raises(UserError, match="can't be loaded"):
        load_model(str(tmp_path))


def changed_tracer(folder: Path, **config: object) -> str:
    shutil.copytree(EMBEDDED_FOLDER, folder, dirs_exist_ok=True)
    known = json.loads((EMBEDDED_FOLDER / "config.json").read_text())
    return write_config(folder, **{**known, **config})


def test_half_a_file_of_weights_says_so(tmp_path: Path) -> None:
    ref = changed_tracer(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200_000])
    with pytest.raises(UserError, match=r"can't be loaded: .*incomplete metadata"):
        load_model(ref)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hidden_size": "64"}, "'hidden_size'.* expected int, got str"),
        ({"num_attention_heads": 5}, "not a multiple of the number of attention heads"),
        ({"num_attention_heads": 0}, "by zero"),
    ],
)
def test_a_configuration_with_a_wrong_value_is_one_line(
    config: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"config.json of .* is no model's: .*{words}") as caught:
        read_spec(changed_tracer(tmp_path, **config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.json", "null", "config.json of .* is no model's: TypeError"),
        ("tokenizer.json", "{}", "can't be loaded: KeyError: 'added_tokens'"),
        ("tokenizer_config.json", "[]", "can't be loaded: AttributeError"),
        ("generation_config.json", "[]", "can't be loaded: TypeError"),
        ("half.gguf", "GGUF", "header of .* is no model's: .*buffer"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, file: str, text: str, words: str) -> None:
    folder = changed_tracer(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        load_model(str(tmp_path / file) if file.endswith(".gguf") else folder)
    assert "\n" not in str(caught.value)


def test_packed_weights_that_need_a_package_name_it(tmp_path: Path) -> None:
    packed = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(UserError, match=r"can't be loaded: .*optimum"):
        load_model(changed_tracer(tmp_path, quantization_config=packed))


def test_a_model_without_layers_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no layers"):
        read_spec(changed_tracer(tmp_path, num_hidden_layers=0))


@pytest.mark.parametrize("ref", ["", " ", "x" * 5000, "~nobody-here/model", "a\0b"])
def test_what_cannot_be_a_path_is_no_model(ref: str) -> None:
    assert local_path(ref) is None
    for ask in (read_spec, read_facts):
        with pytest.raises(UserError, match="no model"):
            ask(ref)


def test_an_error_that_says_nothing_is_named_by_its_kind() -> None:
    assert first_line(OSError()) == "OSError"
    assert first_line(ValueError(" \nThe file\nis short")) == "The file"


@pytest.mark.parametrize(("rows", "how"), [(0, "missing"), (10, "of another shape")])
def test_weights_of_another_model_are_refused_not_made_up(
    tmp_path: Path, rows: int, how: str
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.0.mlp.down_proj.weight"
    cut = weights.pop(name)[:rows].contiguous()
    save_file({**weights, **({name: cut} if rows else {})}, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"do not fit its config.json: {name} {how}"):
        load_model(str(folder))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    model = tiny("llama")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="can't be loaded"):
        load_model(str(tmp_path))


def test_device_and_number_format_can_be_set() -> None:
    model, _ = load_model("tracer", device="cpu", dtype="bfloat16")
    assert (model.device.type, model.dtype) == ("cpu", torch.bfloat16)
    with pytest.raises(UserError, match="no device 'cuda:77' here"):
        load_model("tracer", device="cuda:77")
    with pytest.raises(UserError, match="no device 'meta' here"):
        load_model("tracer", device="meta")
    with pytest.raises(UserError, match="choose one of float32, bfloat16, float16"):
        load_model("tracer", dtype="int4")


def test_bytes_of_a_hybrid_count_its_sliding_layers(tmp_path: Path) -> None:
    tiny("gemma3").save_pretrained(tmp_path)
    load_model("tracer")[1].save_pretrained(tmp_path)
    model, _ = load_model(str(tmp_path))
    spec = model_spec(model)
    assert (spec.layers, spec.kv_heads, spec.query_heads) == (3, 4, 8)
    mask = HeadMask.random(3, 4, sparsity=0.5, seed=0, sink=2, recent=8)
    cache = SplitHeadCache(model, mask)
    model(torch.randint(2, 97, (3, 104)), past_key_values=cache)
    assert cache.nbytes == spec.kv_bytes(mask, 104, batch=3)
    n_ring = 12 - mask.n_kept
    numbers = 2 * 16 * (mask.n_kept * 104 + n_ring * 10 + 2 * 4 * 6)
    assert cache.nbytes == 3 * 4 * numbers
