"""`bench`: what it measures, what it writes, and what it says when something is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    DynamicCache,
    LlamaConfig,
    PreTrainedModel,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlkv.attention import NAME, NewTokens, enable
from rlkv.benchmark import contenders, measuring, memory
from rlkv.benchmark.bench import bench
from rlkv.benchmark.charts import COLOURS
from rlkv.benchmark.contenders import Contender
from rlkv.benchmark.rows import Row
from rlkv.benchmark.tables import tables
from rlkv.cli import main
from rlkv.masks import HeadMask
from rlkv.models import load_model
from tests.rlkv import families
from tests.rlkv.families import tiny

ROOT = Path(__file__).parent.parent.parent
LAYERS, HEADS, HEAD_DIM = 2, 2, 8

resettable_peak = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's resettable peak"
)


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


# --- bytes and memory ---------------------------------------------------------------------


def test_bytes_held_are_within_a_hundredth_of_the_formula() -> None:
    masks = [random_mask(sparsity) for sparsity in (0.25, 0.5, 0.9)]
    rows = list(
        bench(
            small(),
            masks,
            contexts=(1024, 2048),
            batches=(1, 8),
            new_tokens=3,
            with_others=False,
        )
    )
    assert [(row.batch, row.context) for row in rows[::3]] == [
        (1, 1024), (1, 2048), (8, 1024), (8, 2048),
    ]  # fmt: skip
    assert [row.sparsity for row in rows[:3]] == [1 / 4, 2 / 4, 3 / 4]
    for row in rows:
        a_token = 2 * LAYERS * HEADS * HEAD_DIM * 4 * row.batch
        length = row.context + 3
        window = row.sparsity * (length - 80)
        assert row.kv_bytes_formula == a_token * (length - window)
        assert row.kv_bytes_formula_full == row.kv_bytes_stock == a_token * length
        assert row.kv_bytes_formula <= row.kv_bytes <= 1.01 * row.kv_bytes_formula
        assert row.kv_bytes_formula_full <= row.kv_bytes_full <= 1.01 * row.kv_bytes_formula_full
        assert row.others == {}


@resettable_peak
@pytest.mark.slow
def test_the_peak_of_the_split_cache_is_lower_where_the_cache_dominates() -> None:
    model = small(layers=4, heads=4, head_dim=64)
    mask = random_mask(0.9, layers=4, heads=4)
    (row,) = bench(model, [mask], contexts=(1024,), batches=(8,), new_tokens=2, with_others=False)
    assert row.kv_bytes_full > 60e6
    assert row.peak_bytes is not None
    assert row.peak_bytes_full is not None
    assert row.peak_bytes_stock is not None
    assert row.peak_bytes_full > 0.95 * row.kv_bytes_full
    assert row.peak_bytes_stock > 0.95 * row.kv_bytes_stock
    assert row.kv_bytes < row.peak_bytes < row.peak_bytes_full - 30e6


@resettable_peak
def test_the_peak_is_what_was_held_for_a_moment() -> None:
    """In a process of its own: what earlier tests have left may be freed just then."""
    done = subprocess.run(
        [sys.executable, "-c", PEAKS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    grown = [int(line) / 1e6 for line in done.stdout.split()]
    # A smaller one after a larger: the peak was reset.
    assert grown == pytest.approx([64, 16, 64, 0], abs=6)


PEAKS = """
import torch
from rlkv.benchmark.memory import peak_growth
for megabytes in (64, 16, 64, 0):
    print(peak_growth(torch.device("cpu"), lambda: torch.ones(megabytes * 250_000)))
"""


def test_no_peak_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "no" / "such")
    (row,) = bench(small(), [random_mask(0.5)], contexts=(64,), new_tokens=2)
    assert row.peak_bytes is row.peak_bytes_full is row.peak_bytes_stock is None
    assert {each.peak_bytes for each in row.others.values()} == {None}
    assert memory.peak_growth(torch.device("meta"), lambda: None) is None


def test_a_storage_is_counted_once_and_wherever_it_hangs() -> None:
    class Thing:
        pass

    whole = torch.zeros(100)
    cache, layer = Thing(), Thing()
    cache.layers = [layer]  # type: ignore[attr-defined]
    vars(layer).update(
        keys=whole[:10], values=whole[50:], pair=(torch.zeros(3, dtype=torch.int8), "text")
    )
    vars(layer).update(table={"scale": torch.zeros(2)}, back=cache, kind=Thing)
    assert memory.held_bytes(cache) == 400 + 3 + 8


# --- contenders and times -----------------------------------------------------------------


def test_transformers_other_caches_take_part(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "--contexts", "600", "--new-tokens", "3", "--batch", "2")
    (row,) = result["rows"]
    others = row["others"]
    assert {"static", "fp8"} <= set(others)
    assert others["static"]["kv_bytes"] == pytest.approx(row["kv_bytes_stock"], rel=1e-3)
    assert others["fp8"]["kv_bytes"] == pytest.approx(row["kv_bytes_stock"] / 4, rel=1e-3)
    for each in others.values():
        assert each["prefill_tokens_per_s"] > 0
        assert each["decode_tokens_per_s"] > 0
    none = run(capsys, "--contexts", "20", "--new-tokens", "1", "--others", "none")
    assert none["rows"][0]["others"] == {}


def test_a_contender_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tired(DynamicCache):  # type: ignore[misc]
        def update(self, keys: Any, values: Any, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
            if self.get_seq_length() > 700:
                raise RuntimeError("too long for me\nand more")
            return super().update(keys, values, layer_idx, *args, **kwargs)

    def absent(capacity: int) -> Any:
        raise ImportError("not installed")

    def drawn(model: PreTrainedModel) -> list[Contender]:
        tired = Contender("tired", "sdpa", lambda n: Tired(config=model.config), optional=True)
        return [Contender("absent", "sdpa", absent, optional=True), tired]

    monkeypatch.setattr(measuring, "others", drawn)
    notes: list[str] = []
    rows = bench(
        small(),
        [random_mask(0.5)],
        contexts=(600, 696, 1600),
        batches=(1, 2),
        new_tokens=6,
        note=notes.append,
    )
    # At 696 it gets through the warm-up and the peak, and fails in the race.
    assert [set(row.others) for row in rows] == [{"tired"}, set(), set()] * 2
    assert notes == ["absent is left out: not installed", "tired is left out: too long for me"]


def test_a_failure_of_the_stock_cache_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(DynamicCache):  # type: ignore[misc]
        def update(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("broken")

    monkeypatch.setattr(
        measuring, "stock", lambda *_: Contender("stock", "sdpa", lambda _: Broken())
    )
    model = small()
    with pytest.raises(RuntimeError, match="broken"):
        list(bench(model, [random_mask(0.5)], contexts=(8,), new_tokens=1))
    assert model.config._attn_implementation == NAME


def test_peaks_are_measured_anew_only_for_what_the_mask_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = itertools.count()
    monkeypatch.setattr(measuring, "peak_growth", lambda *_: next(count))
    masks = [random_mask(0.25), random_mask(0.5)]
    rows = bench(small(), masks, contexts=(8, 9), new_tokens=1, with_others=False)
    found = [(row.peak_bytes, row.peak_bytes_full, row.peak_bytes_stock) for row in rows]
    assert found == [(0, 1, 2), (3, 1, 2), (4, 5, 6), (7, 5, 6)]


def test_stock_runs_on_transformers_own_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def recorded(name: str) -> Any:
        original = ALL_ATTENTION_FUNCTIONS[name]

        def attention(module: Any, query: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append((name, isinstance(key, NewTokens)))
            return original(module, query, key, *args, **kwargs)

        return attention

    for name in ("sdpa", NAME):
        monkeypatch.setitem(AttentionInterface._global_mapping, name, recorded(name))
    model = small()
    (row,) = bench(model, [random_mask(0.5)], contexts=(16,), new_tokens=2)
    assert set(seen) == {("sdpa", False), (NAME, True)}
    assert model.config._attn_implementation == NAME
    assert row.decode_tokens_per_s_stock > 0


def test_attention_time_is_that_of_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ALL_ATTENTION_FUNCTIONS[NAME]

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.003)
        return original(*args, **kwargs)

    monkeypatch.setitem(AttentionInterface._global_mapping, NAME, slow)
    (row,) = bench(small(), [random_mask(0.5)], contexts=(100,), new_tokens=2, with_others=False)
    assert ALL_ATTENTION_FUNCTIONS[NAME] is slow
    for seconds in (row.decode_attention_s, row.decode_attention_s_full):
        assert LAYERS * 0.003 < seconds < 10 * LAYERS * 0.003
    assert row.decode_tokens_per_s < 1 / (LAYERS * 0.003)
    ratio = row.decode_attention_s_full / row.decode_attention_s
    assert row.attention_speedup == pytest.approx(ratio)
    # Half of the heads read 80 of 102 keys.
    assert row.attention_speedup_ideal == pytest.approx(102 / (0.5 * 102 + 0.5 * 80))


def test_the_ideal_speedup_is_1_while_the_text_fits_the_window() -> None:
    masks = [random_mask(0.5), random_mask(1.0)]
    rows = bench(small(), masks, contexts=(78, 798), new_tokens=2, with_others=False)
    ideal = [row.attention_speedup_ideal for row in rows]
    assert ideal == pytest.approx([1, 1, 1 / (0.5 + 0.5 * 80 / 800), 10])


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gemma3", "gpt_oss"])
def test_other_kinds_of_decoders(family: str) -> None:
    """Learned positions up to the last one, capped scores, sliding layers, learned sinks."""
    model = tiny(family)
    mask = random_mask(0.5, families.LAYERS, families.KV_HEADS)
    (row,) = bench(model, [mask], contexts=(508,), new_tokens=4)
    assert row.kv_bytes_formula <= row.kv_bytes <= 1.02 * row.kv_bytes_formula
    assert row.kv_bytes_formula_full <= row.kv_bytes_full <= 1.02 * row.kv_bytes_formula_full
    assert row.decode_tokens_per_s_stock > 0
    assert model.config._attn_implementation == NAME
    assert contenders.stock_attention(model) == families.STOCK.get(family, "sdpa")


# --- the command --------------------------------------------------------------------------


def test_one_value_each_gives_a_row_per_context(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(
        capsys, "--contexts", "100,700", "--sparsity", "0.5", "--new-tokens", "5", "--batch", "2"
    )
    short, long = result["rows"]
    assert (short["context"], long["context"]) == (100, 700)
    for row in (short, long):
        assert row["kv_bytes_formula"] <= row["kv_bytes"] <= 1.1 * row["kv_bytes_formula"]
        assert row["kv_bytes"] < row["kv_bytes_full"]
        assert row["kv_bytes_stock"] == 2 * 2 * 32 * 16 * 4 * (row["context"] + 5)
        assert all(value > 0 for name, value in row.items() if "per_s" in name)
        assert (row["batch"], row["new_tokens"], row["dtype"]) == (2, 5, "float32")
    # The random mask's window is the published 16 + 64.
    assert (result["sink"], result["recent"]) == (16, 64)
    assert (result["model"], result["device"], result["dtype"]) == ("tracer", "cpu", "float32")


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> tuple[dict[str, Any], str, str]:
    """A run over two values of everything: its JSON, its page, what it said."""
    out = tmp_path / "deep" / "out"
    grid = "--contexts 40,100 --sparsity 0.25,0.5 --batch 1,2 --dtype float32,bfloat16"
    arguments = ["bench", "--model", "tracer", *grid.split(), "--new-tokens", "2"]
    assert main([*arguments, "--device", "cpu", "--out", str(out)]) == 0
    result = json.loads((out / "bench.json").read_text())
    return result, (out / "bench.html").read_text(), capsys.readouterr().out


def test_every_combination_is_measured_told_and_written(
    written: tuple[dict[str, Any], str, str],
) -> None:
    result, page, said = written
    rows = result["rows"]
    names = ("dtype", "batch", "context", "sparsity")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (dtype, batch, context, sparsity)
        for dtype in ("float32", "bfloat16")
        for batch in (1, 2)
        for context in (40, 100)
        for sparsity in (0.25, 0.5)
    ]
    half, whole = rows[8], rows[0]
    assert half["kv_bytes_stock"] * 2 == whole["kv_bytes_stock"]
    assert "context 100, batch 1, sparsity 0.25, float32 (3 of 16)\n" in said
    for title in ("KV cache, MB", "Peak memory, MB", "Decode tok/s", "Prefill tok/s", "Attention"):
        assert f"**{title}" in said
    table = said.split("**KV cache, MB**")[1].split("**")[0]
    assert len([line for line in table.splitlines() if line.startswith("|")]) == 2 + 16
    assert result["command"].startswith("python -m rlkv bench --model tracer --sparsity 0.25,0.5")
    assert result["machine"]["cores"] == torch.get_num_threads()
    assert result["machine"]["torch"] == torch.__version__
    assert all(result["machine"][name] for name in ("cpu", "device", "transformers", "date"))
    assert result["dtype"] == "float32,bfloat16"
    check_page(page, settings=8)


def check_page(text: str, settings: int) -> None:
    """Charts, a choice of settings, and nothing that another machine would have to answer."""
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Tags().feed(text)
    assert not [tag for tag, attributes in tags if {"src", "href"} & set(attributes)]
    assert len([tag for tag, _ in tags if tag == "option"]) == settings
    drawn = {attributes.get("id") for _, attributes in tags}
    assert {"chart-kv", "chart-decode", "chart-prefill", "chart-attention"} <= drawn
    assert text.count("Plotly.newPlot(") >= 4
    assert "plotly.js v" in text  # the library itself
    assert text.count(COLOURS["full"]) > 4
    theme = (ROOT / "ui" / "theme.py").read_text()
    assert f'FULL = "{COLOURS["full"]}"' in theme
    assert f'COMPRESSED = "{COLOURS["split"]}"' in theme


def test_a_mask_is_cut_at_each_sparsity_or_left_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=2, recent=6).toggle(0, 0)
    folder = str(mask.save(tmp_path / "mask"))
    few = ("--contexts", "20", "--new-tokens", "1", "--others", "none", "--mask", folder)
    own = run(capsys, *few)
    assert [row["sparsity"] for row in own["rows"]] == [mask.sparsity]
    assert (own["sink"], own["recent"]) == (2, 6)
    cut = run(capsys, *few, "--sparsity", "0.25,1")
    assert [row["sparsity"] for row in cut["rows"]] == [0.25, 1.0]
    other = str(HeadMask.full(3, 3).save(tmp_path / "other"))
    assert main(["bench", "--model", "tracer", "--mask", other]) == 2
    assert "3 layers x 3 KV heads but tracer has 4 x 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted; 2 of 3 rows were measured"),
        (MemoryError(), 2, "does not fit into the memory"),
        (RuntimeError("CUDA error: out of memory"), 2, "does not fit into the memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), 2, "2 of 3 rows"),
    ],
)
def test_rows_measured_before_the_end_are_kept(
    error: BaseException,
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = measuring.Measuring.row

    def row(self: Any, mask: Any, context: int, *args: Any) -> Row:
        if context == 30:
            raise error
        return measured(self, mask, context, *args)

    monkeypatch.setattr(measuring.Measuring, "row", row)
    options = ("--new-tokens", "1", "--others", "none", "--out", str(tmp_path))
    assert main(["bench", "--model", "tracer", "--contexts", "10,20,30", *options]) == code
    said = capsys.readouterr()
    assert says in said.err
    assert "|      20 |" in said.out
    result = json.loads((tmp_path / "bench.json").read_text())
    assert [each["context"] for each in result["rows"]] == [10, 20]
    assert says in result["stopped"]
    assert "Plotly.newPlot(" in (tmp_path / "bench.html").read_text()
    # Without any row there is nothing to keep.
    assert main(["bench", "--model", "tracer", "--contexts", "30", *options]) == code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--contexts 2000", "at most 1024"),
        ("--contexts 1000 --new-tokens 25", "at most 1024"),
        ("--contexts 0", "at least 1"),
        ("--batch 0", "at least 1"),
        ("--new-tokens 0", "at least 1"),
        ("--contexts many", "whole numbers"),
        ("--contexts 64,", "whole numbers"),
        ("--batch 1,few", "--batch takes whole numbers"),
        ("--sparsity 0.5,half", "numbers from 0 to 1"),
        ("--sparsity 1.5", "from 0 to 1"),
        ("--sparsity nan", "from 0 to 1"),
        ("--dtype float8", "no number format 'float8'"),
        ("--device toaster", "no device 'toaster'"),
        ("--device cuda:99", "no device 'cuda:99'"),
        ("--mask nowhere", "no mask at 'nowhere'"),
        ("--out {file}", "can't be a folder"),
        ("--out {file}/below", "can't be a folder"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    words = arguments.format(file=tmp_path / "file").split()
    assert main(["bench", "--model", "tracer", *words]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    assert says in line


def test_decode_only_reads_no_prompt_and_holds_the_same_bytes() -> None:
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16)
    model, _ = load_model("tracer")
    options: dict[str, Any] = {"contexts": [600], "new_tokens": 4, "with_others": False}
    (read,) = bench(model, [mask], **options)
    (filled,) = bench(model, [mask], **options, reads=False)
    assert filled.prefill_tokens_per_s is None
    assert filled.peak_bytes_full is None
    assert filled.decode_tokens_per_s > 0
    for name in ("kv_bytes", "kv_bytes_full", "kv_bytes_stock"):
        assert getattr(filled, name) == getattr(read, name)
    assert "Prefill" in tables([read])
    assert "Prefill" not in tables([filled])


def test_a_contender_with_a_captured_step_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step with fixed shapes, without the graph that only CUDA has."""

    def fixed(model: PreTrainedModel, mask: HeadMask) -> list[Contender]:
        ours = contenders.ours(model, mask)
        return [dataclasses.replace(each, name=f"{each.name}-graph", graph=False) for each in ours]

    monkeypatch.setattr(measuring, "captured", fixed)
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16)
    model, _ = load_model("tracer")
    (row,) = bench(model, [mask], contexts=[100], new_tokens=20)
    assert {"split-graph", "full-graph"} <= set(row.others)
    assert row.others["split-graph"].kv_bytes == row.kv_bytes
    assert row.others["full-graph"].decode_tokens_per_s > 0
