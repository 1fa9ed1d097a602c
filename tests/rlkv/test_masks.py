import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from rlkv.errors import UserError
from rlkv.masks import HeadMask

TSV = "0.5\t1.0078\t-0.011\n0.25\t0.75\t0.1\n"


@pytest.fixture
def mask() -> HeadMask:
    return HeadMask.random(
        4, 8, sparsity=0.5, seed=0, sink=4, recent=16, model="tracer", name="mine",
        info={"task": "tracing", "head_dim": 16, "itemsize": 4},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("heads", "sparsity", "kept"),
    # The published counts: reference tables of the three models of the paper.
    [(256, 0.2, 205), (256, 0.4, 154), (256, 0.5, 128), (256, 0.6, 103), (256, 0.8, 52),
     (112, 0.2, 89), (112, 0.4, 67), (112, 0.5, 56), (112, 0.6, 45), (112, 0.8, 23),
     (288, 0.2, 230), (288, 0.4, 173), (288, 0.5, 144), (288, 0.6, 115), (288, 0.8, 58),
     (32, 0.0, 32), (32, 1.0, 0)],
)  # fmt: skip
def test_number_kept_is_the_published_one(heads: int, sparsity: float, kept: int) -> None:
    assert HeadMask.full(1, heads).at_sparsity(sparsity).n_kept == kept


def test_no_head_is_lost_to_floating_point() -> None:
    assert 0.28 * 175 > 49
    assert HeadMask.full(22, 8).at_sparsity(0.28).n_kept == 176 - 49


def test_the_best_are_kept_and_ties_fall_by_layer_and_head() -> None:
    scores = [[0.5, 0.9], [0.5, 0.5]]
    mask = HeadMask.from_scores(scores, sparsity=0.5)
    assert mask.kept.tolist() == [[True, True], [False, False]]
    assert mask.ranks().tolist() == [[1, 0], [2, 3]]
    assert mask.inverse().kept.tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("sparsity", [-0.1, 1.01, float("nan")])
def test_a_sparsity_outside_the_range_is_refused(mask: HeadMask, sparsity: float) -> None:
    with pytest.raises(UserError, match="from 0 to 1"):
        mask.at_sparsity(sparsity)


def test_toggle(mask: HeadMask) -> None:
    other = mask.toggle(2, 3)
    assert (other.kept != mask.kept).sum() == 1
    assert other.kept[2, 3] != mask.kept[2, 3]
    assert other.toggle(2, 3) == mask
    for layer, head in ((4, 0), (-1, 0), (0, 8), (0, -1)):
        with pytest.raises(UserError, match=rf"no head {layer}\.{head}:"):
            mask.toggle(layer, head)


def test_bytes_and_share_saved(mask: HeadMask) -> None:
    assert mask.kv_bytes(100, head_dim=16, itemsize=4) == 2 * 16 * 4 * (16 * 100 + 16 * 20)
    assert mask.kv_bytes(100, head_dim=16, itemsize=4, batch=3) == 3 * mask.kv_bytes(
        100, head_dim=16, itemsize=4
    )
    assert mask.kv_saved(100) == pytest.approx(0.4)
    assert mask.kv_saved(20) == 0.0
    assert mask.kv_saved(0) == 0.0


def test_a_budget_is_used_but_not_exceeded(mask: HeadMask) -> None:
    budget = 150_000
    fitted = mask.with_budget(bytes=budget, length=100)
    used = fitted.kv_bytes(100, head_dim=16, itemsize=4)
    one_more = fitted.keep_best(fitted.n_kept + 1).kv_bytes(100, head_dim=16, itemsize=4)
    assert used <= budget < one_more
    least = mask.keep_best(0).kv_bytes(100, head_dim=16, itemsize=4)
    assert mask.with_budget(bytes=least, length=100).n_kept == 0
    with pytest.raises(UserError, match="are needed"):
        mask.with_budget(bytes=least - 1, length=100)
    with pytest.raises(UserError, match="head size"):
        HeadMask.full(2, 2).with_budget(bytes=1000, length=100)
    assert mask.with_budget(bytes=10**9, length=5).n_kept == 32


def test_gates_that_a_file_notes_are_gates(mask: HeadMask) -> None:
    noted = np.full((4, 8), 0.5)
    noted[0, :2] = (-1.0, 3.0)
    gates = replace(mask, info={"gates": noted.tolist()}).gates
    assert gates[0, :3].tolist() == [0.0, 1.0, 0.5]
    for wrong in ([[0.5]], "x", [[float("nan")] * 8] * 4):
        assert np.array_equal(replace(mask, info={"gates": wrong}).gates, mask.scores)


def test_files_keep_everything(mask: HeadMask, tmp_path: Path) -> None:
    edited = mask.toggle(0, 0)
    assert HeadMask.load(edited.save(tmp_path / "m")) == edited
    assert HeadMask.load(edited.save_zip(tmp_path / "m.zip")) == edited
    assert HeadMask.from_record(edited.to_record()) == edited
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["sink_size"] == 4
    table = np.loadtxt(tmp_path / "m" / "full_attention_heads.tsv", delimiter="\t")
    np.testing.assert_allclose(table, edited.scores, atol=1e-7)


def test_a_link_carries_the_kept_heads(mask: HeadMask) -> None:
    back = HeadMask.load(mask.to_link())
    assert (back.kept == mask.kept).all()
    assert (back.sink, back.recent) == (4, 16)
    assert len(HeadMask.full(36, 8).to_link()) < 70


def test_a_paper_table_is_clipped_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "adapter_weights.tsv"
    path.write_text(TSV)
    mask = HeadMask.load(path)
    assert mask.scores.max() == 1
    assert mask.scores.min() == 0
    assert any("2 scores outside" in note for note in mask.info["notes"])
    assert HeadMask.load(tmp_path).shape == (2, 3)  # a folder with only that


def test_duo_attention_folder(tmp_path: Path) -> None:
    (tmp_path / "full_attention_heads.tsv").write_text(TSV)
    (tmp_path / "config.json").write_text(
        json.dumps({"sink_size": 64, "recent_size": 256, "model_name": "m/x"})
    )
    mask = HeadMask.load(tmp_path)
    assert (mask.sink, mask.recent, mask.model) == (64, 256, "m/x")


def broken(folder: Path, change: str, mask: HeadMask) -> Path:
    """A mask folder with one thing wrong."""
    mask.save(folder)
    config = json.loads((folder / "config.json").read_text())
    edits = {
        "schema": {"schema": 99},
        "kept shape": {"kept": ["1"]},
        "kept text": {"kept": ["1" * 7 + "x"] * 4},
        "window": {"recent": 0},
        "window type": {"sink": "4"},
    }
    if change in edits:
        (folder / "config.json").write_text(json.dumps(config | edits[change]))
    elif change == "json":
        (folder / "config.json").write_text("{")
    elif change == "list":
        (folder / "config.json").write_text("[]")
    elif change == "nan":
        save_file({"gates": np.full((4, 8), np.nan, np.float32)}, folder / "gates.safetensors")
    elif change == "rank":
        save_file({"gates": np.zeros(4, np.float32)}, folder / "gates.safetensors")
    elif change == "two":
        table = np.zeros((4, 8), np.float32)
        save_file({"a": table, "b": table}, folder / "gates.safetensors")
    elif change == "pickle":
        torch.save({"gates": torch.zeros(4, 8)}, folder / "gates.safetensors")
    elif change == "large":
        (folder / "gates.safetensors").write_bytes(bytes(6_000_000))
    return folder


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("schema", "schema 99"),
        ("kept shape", "do not fit"),
        ("kept text", "do not fit"),
        ("window", "recent >= 1"),
        ("window type", "whole number for 'sink'"),
        ("json", "not valid JSON"),
        ("list", "one JSON object"),
        ("nan", "not finite"),
        ("rank", "layers x KV heads"),
        ("two", "more than one table"),
        ("pickle", "damaged"),
        ("large", "never has over"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    change: str, says: str, mask: HeadMask, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        HeadMask.load(broken(tmp_path / "m", change, mask))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("a\tb\n", "not a table"), ("1\t2\n3\n", "same length"), ("", "one row a layer"),
     ("nan\t1\n", "not finite")],
)  # fmt: skip
def test_bad_tables(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        HeadMask.load(path)


def test_other_bad_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no mask at"):
        HeadMask.load(tmp_path / "nothing")
    (tmp_path / "x.zip").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="not a readable zip"):
        HeadMask.load(tmp_path / "x.zip")
    (tmp_path / "x.exe").write_bytes(b"")
    with pytest.raises(UserError, match=r"choose a \.zip or a \.tsv"):
        HeadMask.load(tmp_path / "x.exe")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no mask"):
        HeadMask.load(tmp_path / "empty")
    with pytest.raises(UserError, match="does not fit"):
        HeadMask.load("rlkv1.4x8.4.16.AA")


def test_a_zip_cannot_write_outside_or_explode(mask: HeadMask, tmp_path: Path) -> None:
    path = mask.save_zip(tmp_path / "m.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../outside.txt", "x")
    assert HeadMask.load(path) == mask
    assert not list(tmp_path.parent.glob("outside.txt"))
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gates.safetensors", bytes(50_000_000))
    with pytest.raises(UserError, match="larger than any mask"):
        HeadMask.load(bomb)


def test_masks_do_not_change_under_their_readers(mask: HeadMask) -> None:
    with pytest.raises(ValueError, match="read-only"):
        mask.kept[0, 0] = True


def test_rank_correlation(mask: HeadMask) -> None:
    assert mask.rank_correlation(mask) == pytest.approx(1.0)
    assert mask.rank_correlation(mask.inverse()) == pytest.approx(-1.0)


def test_the_inverse_turns_ties_and_the_smallest_differences_round() -> None:
    scores = [[0.5, 0.5, 0.0, 0.0], [1.0, 1.0, 1e-9, 2e-9]]  # 1 - 1e-9 is 1 in float32
    mask = HeadMask.from_scores(scores, sparsity=0.4)
    turned = mask.inverse()
    assert (turned.ranks() == 7 - mask.ranks()).all()
    assert (turned.keep_best(turned.n_kept).kept == turned.kept).all()
    assert (turned.inverse().ranks() == mask.ranks()).all()


def test_one_head_has_one_ranking() -> None:
    one = HeadMask.full(1, 1)
    assert one.rank_correlation(one) == 1.0


def test_a_random_mask_needs_a_seed_that_is_one() -> None:
    with pytest.raises(UserError, match="0 or more, got -1"):
        HeadMask.random(2, 2, sparsity=0.5, seed=-1)


def test_the_current_folder_is_read_by_its_name_only(
    mask: HeadMask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask.save(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert HeadMask.load(".") == mask
    with pytest.raises(UserError, match="no mask at ''"):
        HeadMask.load("")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match="'empty' holds no mask"):
        HeadMask.load(".")
