"""Any mask through any format: the kept heads exactly, the gates to the format's precision."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkv.mask_files import PAPER_TSV, write_adapter_weights
from rlkv.mask_files.found import look, look_at_bytes
from rlkv.mask_files.own import contents
from rlkv.mask_files.tsv import fork_sparsity
from rlkv.mask_link import to_link
from rlkv.masks import HeadMask

NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=30)


@st.composite
def masks(draw: st.DrawFn) -> HeadMask:
    """Any table with any heads kept, also such that are no cut of the scores."""
    layers, heads = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.random((layers, heads)).astype(np.float32)
    if draw(st.booleans()):  # many ties, as in DuoAttention's tables
        scores = (np.round(scores * 3) / 3).astype(np.float32)
    if draw(st.booleans()):
        kept = rng.random((layers, heads)) < draw(st.floats(0, 1))
    else:
        kept = HeadMask.from_scores(scores, sparsity=draw(st.floats(0, 1))).kept
    name = " ".join(draw(NAMES).split())
    return HeadMask(
        scores, kept, sink=draw(st.integers(0, 500)), recent=draw(st.integers(1, 5000)),
        model=draw(st.sampled_from(["", "tracer", "org/model-1.5B"])), name=name,
        info={"task": "tracing", "seed": draw(st.integers(0, 9))},
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(mask=masks())
def test_own_files_give_back_everything(mask: HeadMask) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert HeadMask.load(mask.save(Path(folder) / "m")) == mask
        assert HeadMask.load(mask.save_zip(Path(folder) / "m.zip")) == mask
    files = contents(mask)
    table = look_at_bytes(files["full_attention_heads.tsv"], "x.tsv").mask
    assert np.array_equal(table.scores, mask.scores)


@settings(max_examples=150, deadline=None)
@given(mask=masks(), seed=st.integers(0, 2**32 - 1))
def test_the_fork_keeps_the_same_heads(mask: HeadMask, seed: int) -> None:
    """RLKV's loader, by its rule: clip, noise below 1e-6, the quantile at its sparsity."""
    data = write_adapter_weights(mask)
    scores = np.loadtxt(io.BytesIO(data), dtype=float, delimiter="\t", ndmin=2)
    noisy = np.clip(scores, 0, 1) + np.random.default_rng(seed).uniform(0, 1e-6, scores.shape)
    sparsity = fork_sparsity(mask.n_kept, mask.kept.size)
    if 0 < sparsity < 1:
        assert np.array_equal(noisy >= np.quantile(noisy, sparsity), mask.kept)
    else:
        assert mask.kept.all() == (sparsity == 0)

    back = look_at_bytes(data, PAPER_TSV).mask
    assert np.array_equal(back.kept, mask.kept)
    np.testing.assert_allclose(back.scores, mask.scores, atol=1e-7)
    assert (back.sink, back.recent, back.model) == (mask.sink, mask.recent, mask.model)


@settings(max_examples=150, deadline=None)
@given(mask=masks())
def test_a_link_gives_back_kept_heads_window_and_model(mask: HeadMask) -> None:
    back = look(to_link(mask)).mask
    assert np.array_equal(back.kept, mask.kept)
    assert (back.sink, back.recent, back.model) == (mask.sink, mask.recent, mask.model)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_head_scores_keep_their_order_on_any_scale(kind: str) -> None:
    scores = np.random.default_rng(0).permutation(48).reshape(6, 8).astype(kind)
    array = io.BytesIO()
    np.save(array, scores)
    found = look_at_bytes(array.getvalue(), "kvzip.npy")
    assert np.array_equal(found.mask.ranks(), HeadMask.from_scores(scores / 47).ranks())
    assert any("moved to [0, 1]" in note for note in found.mask.info["notes"])
