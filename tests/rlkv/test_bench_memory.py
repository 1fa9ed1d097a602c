"""Bytes and memory as `bench` measures them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlkv.benchmark import memory
from rlkv.benchmark.bench import bench
from tests.rlkv.bench_stage import HEAD_DIM, HEADS, LAYERS, ROOT, random_mask, small

resettable_peak = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's resettable peak"
)


@pytest.mark.slow
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
@pytest.mark.slow
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
