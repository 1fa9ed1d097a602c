"""`bench`: which caches take part, what is timed, and which models it takes."""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import Any

import pytest
from transformers import (
    AttentionInterface,
    DynamicCache,
    PreTrainedModel,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rlkv.attention import NAME, NewTokens
from rlkv.benchmark import contenders, measuring
from rlkv.benchmark.bench import bench
from rlkv.benchmark.contenders import Contender
from rlkv.benchmark.tables import tables
from rlkv.masks import HeadMask
from rlkv.models import load_model
from tests.rlkv import families
from tests.rlkv.bench_stage import LAYERS, random_mask, run, small
from tests.rlkv.families import tiny


@pytest.mark.slow
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
