"""The card, the heat map, and what a file is said to hold before it is kept."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from rlkv.mask_card import card
from rlkv.mask_files.found import look
from rlkv.mask_metrics import figure
from rlkv.mask_picture import heat_map, thumbnail
from rlkv.masks import HeadMask

EVIL = '<img src=x onerror=alert(1)> [x](javascript:x) | "a"\n---\nbase_model: evil'


@pytest.fixture
def mask() -> HeadMask:
    return HeadMask.random(
        4, 8, sparsity=0.5, seed=0, sink=4, recent=16, model="org/base", name="mine",
        info={"task": "math", "seed": 0, "metrics": {"n": 100, "accuracy_at_50": 0.985}},
    )  # fmt: skip


def test_the_card_says_model_results_and_use(mask: HeadMask) -> None:
    text = card(mask, source="user/mask")
    assert text.startswith("---\nbase_model: org/base\nlibrary_name: rlkv\ntags: [rlkv, kv-cache")
    assert "| Accuracy at 50 % sparsity | 98.5 % |" in text
    assert "Over 100 problems." in text
    assert "![Gate of every KV head](heads.svg)" in text
    assert 'HeadMask.load("user/mask")' in text


def test_no_name_breaks_out_of_the_card() -> None:
    text = card(HeadMask.full(2, 2, name=EVIL, model=EVIL, info={"task": EVIL, "seed": [1]}))
    head, body = text.split("---\n", 2)[1:]
    assert "base_model" not in head
    assert "\nbase_model" not in body
    words = body.split("```python")[0]  # within a fence it is text
    assert "<img" not in words
    assert "](javascript" not in words


@pytest.mark.parametrize("metrics", [None, 3, [1], {"accuracy_at_50": "x"}, {"accuracy_at_50": 7}])
def test_a_figure_that_is_none_is_left_out(metrics: object) -> None:
    mask = HeadMask.full(2, 2, info={"metrics": metrics})
    assert figure(mask, "accuracy_at_50") is None


@pytest.mark.parametrize("shape", [(1, 1), (4, 8), (36, 8), (30, 3)])
def test_pictures_draw_every_head_once(shape: tuple[int, int]) -> None:
    mask = HeadMask.random(*shape, sparsity=0.5, seed=1, model=EVIL)
    for drawn in (heat_map(mask), thumbnail(mask)):
        root = ElementTree.fromstring(drawn)
        paths = [e.attrib["d"] for e in root.iter() if e.tag.endswith("path")]
        assert sum(path.count("M") for path in paths) == mask.kept.size


def test_what_a_zip_holds(mask: HeadMask, tmp_path: Path) -> None:
    with zipfile.ZipFile(mask.save_zip(tmp_path / "m.zip")) as archive:
        assert sorted(archive.namelist()) == [
            "README.md", "config.json", "full_attention_heads.tsv", "gates.safetensors",
            "heads.svg",
        ]  # fmt: skip


def test_clipped_values_ties_and_window_are_told(tmp_path: Path) -> None:
    scores = np.array([[1.0078, 0.7, 0.4, 0.4], [0.4, 0.4, -0.011, 0.1]])
    path = tmp_path / "adapter_weights.tsv"
    np.savetxt(path, scores, delimiter="\t")
    found = look(path)
    assert (found.form, found.clipped, found.ties) == ("RLKV gates", 2, 2)
    assert (found.low, found.high) == (-0.011, 1.0078)
    assert not found.has_window
    assert not found.has_kept
    assert any("2 compressed heads have the same score" in words for words in found.warnings())


def test_another_model_or_revision_is_warned_of(tmp_path: Path) -> None:
    wrong = HeadMask.full(4, 8, model="Qwen/Qwen3-4B-Thinking-2507")
    assert any("36 x 8" in w for w in look(wrong.save_zip(tmp_path / "a.zip")).warnings())
    unknown = HeadMask.full(4, 8, model="org/unheard-of", revision="abc")
    found = look(unknown.save_zip(tmp_path / "b.zip"))
    assert any("not known here" in w for w in found.warnings())
    said = found.warnings({("org/unheard-of", "def")})
    assert any("revision abc" in w and "def" in w for w in said)
    assert not any("not known here" in w for w in said)
    fits = look(HeadMask.full(4, 8, model="tracer").save_zip(tmp_path / "c.zip"))
    assert (fits.fits, fits.warnings()) == (["tracer"], [])


def test_the_window_that_duo_attention_deploys(tmp_path: Path) -> None:
    (tmp_path / "full_attention_heads.tsv").write_text("0.1\t0.9\n")
    config = {"sink_size": 128, "recent_size": 256, "deploy_sink_size": 64,
              "deploy_recent_size": None}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = look(tmp_path)
    assert (found.form, found.mask.sink, found.mask.recent) == ("DuoAttention pattern", 64, 256)
