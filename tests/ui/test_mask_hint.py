"""A mask of another model or revision is told of where it comes in, and where it is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from rlkv.hub.cached import cached_commit, is_other
from rlkv.known_models import KNOWN
from rlkv.mask_files.found import look
from rlkv.masks import HeadMask
from ui.evaluation.form import NAMES, size_line
from ui.library.importing import looked_at, preview
from ui.mask_hint import difference, mask_hint
from ui.studio import Settings, Studio

SMALL = KNOWN[1]
HERE, THERE, OLD = "a" * 40, "b" * 40, "c" * 40
MASK = HeadMask.random(
    SMALL.layers, SMALL.kv_heads, sparsity=0.5, seed=0, model=SMALL.ref, revision=THERE, name="One"
)  # fmt: skip


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """With a model in the Hub's cache, and another in memory."""
    folder = tmp_path / "hub" / f"models--{SMALL.ref.replace('/', '--')}"
    for name, commit in (("main", HERE), ("v1", OLD)):
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / name).write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text("{}")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    studio = Studio.open(Settings(data_dir=tmp_path / "data"))
    yield studio
    studio.db.close()


def test_the_commit_here_is_that_of_the_cache(studio: Studio) -> None:
    assert cached_commit(SMALL.ref) == HERE
    assert cached_commit(f"{SMALL.ref}@v1") == cached_commit(f"{SMALL.ref}@{OLD}") == OLD
    assert cached_commit(f"{SMALL.ref}@v2") == cached_commit("org/no-name-") == ""
    assert cached_commit("org/other") == cached_commit("tracer") == cached_commit("../../x") == ""
    assert is_other(THERE, HERE)
    assert not any((is_other(HERE, HERE), is_other(HERE[:8], HERE), is_other("", HERE)))
    assert not is_other(THERE, "")


def test_a_model_at_a_revision_is_the_masks_model(studio: Studio, tmp_path: Path) -> None:
    at_v1 = f"{SMALL.ref}@v1"
    assert difference(studio, replace(MASK, revision=OLD), at_v1) == ""
    assert f"here it is {OLD[:12]}" in difference(studio, replace(MASK, revision=HERE), at_v1)
    assert "expect less" in difference(studio, MASK, f"{SMALL.ref}-2@v1")
    found = look(MASK.save_zip(tmp_path / "m.zip"))
    assert not any("loaded now" in words for words in found.warnings(in_use=[at_v1]))


def _said(studio: Studio, mask: HeadMask, folder: Path) -> str:
    return preview(studio, looked_at([str(mask.save_zip(folder / "m.zip"))], ()))


def test_an_import_for_another_model_or_revision_is_warned_of(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _said(studio, MASK, tmp_path)
    assert f"It is for {SMALL.ref}; loaded now: tracer." in said
    assert (
        f"learned on revision {THERE[:12]} of {SMALL.ref}; on this machine is {HERE[:12]}" in said
    )
    monkeypatch.setattr("ui.engines.Engines.in_memory", lambda _: [SMALL.ref])
    same = _said(studio, replace(MASK, revision=HERE), tmp_path)
    assert "loaded now" not in same
    assert "on this machine" not in same


def test_visitors_are_not_told_what_lies_in_the_owners_cache(
    studio: Studio, tmp_path: Path
) -> None:
    public = Studio(Settings(shared=True), studio.db)
    assert "on this machine" not in _said(public, MASK, tmp_path)


def test_it_is_said_again_where_the_mask_is_chosen(studio: Studio) -> None:
    key = studio.masks.save(MASK.to_record()).id
    same = studio.masks.save(replace(MASK, revision=HERE).to_record()).id
    assert f"learned on {SMALL.ref}: expect less" in mask_hint(studio, ["full", key, key], "tracer")
    assert mask_hint(studio, [key, key], SMALL.ref).count("here it is aaaaaaaaaaaa") == 1
    assert (
        mask_hint(studio, [same, "shipped", "random", None, 3, "gone"], "tracer").count("<p") == 1
    )
    assert mask_hint(studio, [same], SMALL.ref) == ""
    defaults = [None] * len(NAMES)
    line = size_line(studio, [SMALL.ref, [key], ["learned"], "0.5", *defaults])
    assert "here it is" in line, line
