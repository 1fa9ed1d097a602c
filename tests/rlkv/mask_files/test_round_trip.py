"""Any mask through any format: the kept heads exactly, the gates to the format's precision."""

from __future__ import annotations

import io
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import huggingface_hub
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkv.commands.masks import mask_convert
from rlkv.mask_files import CONFIG, GATES, PAPER_TSV, TSV, write_adapter_weights
from rlkv.mask_files.found import Found, look
from rlkv.mask_files.own import contents
from rlkv.mask_files.tsv import fork_sparsity
from rlkv.mask_link import to_link
from rlkv.masks import HeadMask
from tests.rlkv.hub_client import use
from tests.rlkv.hub_stand_in import hub
from ui.library.exporting import written

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


def _in_folder(mask: HeadMask, to: Path, *without: str) -> HeadMask:
    folder = mask.save(to / "m")
    for name in without:
        (folder / name).unlink()
    return HeadMask.load(folder)


def _one_file(mask: HeadMask, to: Path, name: str) -> HeadMask:
    """By the command, which goes by the name."""
    out = to / name
    mask_convert(Namespace(mask=str(mask.save(to / "m")), sparsity=None, out=out, json=True))
    return HeadMask.load(out)


WAYS: dict[str, Callable[[HeadMask, Path], HeadMask]] = {
    "folder": _in_folder,
    "folder without gates.safetensors": lambda mask, to: _in_folder(mask, to, GATES),
    "full_attention_heads.tsv in a folder": lambda mask, to: _in_folder(mask, to, GATES, CONFIG),
    "zip": lambda mask, to: _one_file(mask, to, "mask.zip"),
    "zip of the page": lambda mask, _: HeadMask.load(written(mask, "zip")),
    "zip with a folder": lambda mask, _: HeadMask.load(written(mask, "folder")),
    "full_attention_heads.tsv": lambda mask, to: _one_file(mask, to, TSV),
    "adapter_weights.tsv": lambda mask, to: _one_file(mask, to, PAPER_TSV),
    "adapter_weights.tsv of the page": lambda mask, _: HeadMask.load(written(mask, "adapter")),
    "record": lambda mask, _: HeadMask.from_record(mask.to_record()),
}
PRECISION = {"adapter_weights.tsv": 1e-7, "adapter_weights.tsv of the page": 1e-7}
"""Absolute, where scores may be spread; every other form gives float32 back exactly."""


def same(back: HeadMask, mask: HeadMask, precision: float) -> None:
    assert np.array_equal(back.kept, mask.kept)
    np.testing.assert_allclose(back.scores, mask.scores, rtol=0, atol=precision)
    assert (back.sink, back.recent, back.model) == (mask.sink, mask.recent, mask.model)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None)
@given(mask=masks())
def test_every_form_gives_back_kept_heads_gates_window_and_model(way: str, mask: HeadMask) -> None:
    with tempfile.TemporaryDirectory() as to, mock.patch.dict(os.environ, GRADIO_TEMP_DIR=to):
        same(WAYS[way](mask, Path(to)), mask, PRECISION.get(way, 0.0))


def read_back(data: bytes, file_name: str) -> Found:
    """What is found in a file of that name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name
        path.write_bytes(data)
        return look(path)


@settings(max_examples=60, deadline=None)
@given(mask=masks())
def test_own_files_give_back_everything(mask: HeadMask) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert HeadMask.load(mask.save(Path(folder) / "m")) == mask
        assert HeadMask.load(mask.save_zip(Path(folder) / "m.zip")) == mask


def test_the_hub_gives_back_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the repository has lost the gates or all but the table."""
    random = HeadMask.random(5, 3, sparsity=0.4, seed=1, sink=4, recent=16, model="tracer")
    with hub() as (endpoint, stand_in):
        use(monkeypatch, endpoint, tmp_path / "hf")
        for number, mask in enumerate((random, random.toggle(0, 0), random.toggle(4, 2))):
            repo = f"user/mask-{number}"
            mask.push_to_hub(repo, token="hf_any")
            same(HeadMask.from_pretrained(repo, token="hf_any"), mask, 0.0)
            for gone, left in ((GATES, "no-gates"), (CONFIG, "table")):
                files = stand_in.repos[f"user/{left}-{number}"] = dict(stand_in.repos[repo])
                del files[gone]
                repo = f"user/{left}-{number}"
                same(HeadMask.from_pretrained(repo, token="hf_any"), mask, 0.0)
    huggingface_hub.close_session()


def test_duo_attentions_reader_passes_over_the_first_line() -> None:
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, name="# a\n\tb\u2028c").toggle(0, 0)
    table = np.loadtxt(io.BytesIO(contents(mask)[TSV]), dtype=float, delimiter="\t")
    assert np.array_equal(table.astype(np.float32), mask.scores)
    assert read_back(contents(mask)[TSV], "x.tsv").form.endswith("written by RLKV Studio")


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

    back = read_back(data, PAPER_TSV).mask
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
    found = read_back(array.getvalue(), "kvzip.npy")
    assert np.array_equal(found.mask.ranks(), HeadMask.from_scores(scores / 47).ranks())
    assert any("moved to [0, 1]" in note for note in found.mask.info["notes"])
