"""`org/model@revision` names one state of a model, on the Hub and in its cache."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from rlkv.errors import UserError
from rlkv.hub.card import hub_card
from rlkv.hub.names import at_revision, is_on_hub, model_tag, split_revision
from rlkv.masks import HeadMask
from rlkv.models import load_model, read_spec
from rlkv.snippets import cli_snippet, python_snippet
from rlkv.training.config import make_config
from rlkv.training.result import as_mask
from tests.rlkv.families import tiny
from tests.rlkv.hub_client import python
from tests.rlkv.hub_stand_in import hub

OLD, NEW = "a" * 40, "b" * 40
LOAD = """
import json, sys
from rlkv.errors import UserError
from rlkv.hub.cached import cached_commit
from rlkv.model_facts import place_of, read_facts
from rlkv.models import load_model
from rlkv.weights import fetch
told = []
for ref in sys.argv[1:]:
    before = place_of(ref)
    fetch(ref, lambda n: None, lambda: False)
    model, _ = load_model(ref)
    place = read_facts(ref).place
    told.append([before, place, cached_commit(ref), float(model.lm_head.weight.sum())])
print(json.dumps(told))
"""


def files_of(folder: Path, scale: float) -> tuple[dict[str, bytes], float]:
    """A tiny model's files, and the sum of its last weights."""
    model = tiny("llama")
    model.lm_head.weight.data *= scale
    model.save_pretrained(folder)
    load_model("tracer")[1].save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files, float(model.lm_head.weight.sum())


@pytest.mark.slow
def test_each_revision_is_fetched_and_found_again_by_itself(tmp_path: Path) -> None:
    old, first = files_of(tmp_path / "old", 1)
    new, second = files_of(tmp_path / "new", 2)
    assert first != pytest.approx(second)
    pinned = f"org/model@{OLD}"
    with hub() as (endpoint, stand_in):
        stand_in.repos["org/model"] = new
        stand_in.history["org/model"] = [(OLD, old), (NEW, new)]
        told = json.loads(python(LOAD, endpoint, tmp_path, pinned, "org/model", pinned))
    assert [one[:3] for one in told] == [
        ["hub", "cache", OLD],
        ["hub", "cache", NEW],
        ["cache", "cache", OLD],
    ]
    assert [one[3] for one in told] == pytest.approx([first, second, first], rel=1e-4)


def test_what_is_no_revision_is_no_model() -> None:
    for ref in ("org/model@", "org/model@../../x", "org/model@a b", "@main", "org/model@v1@v2"):
        assert split_revision(ref) == (ref, None)
        with pytest.raises(UserError, match="org/name@revision"):
            read_spec(ref)
    with pytest.raises(UserError, match="offline"):
        read_spec("org/model@main")


def test_a_folder_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny("llama").config.save_pretrained(tmp_path / "org" / "model@v1")
    assert split_revision("org/model@v1") == ("org/model@v1", None)
    assert read_spec("org/model@v1").family == "llama"


def test_names_with_a_revision_are_the_models() -> None:
    assert split_revision("org/model@refs/pr/1") == ("org/model", "refs/pr/1")
    assert is_on_hub("org/model@v1")
    assert model_tag("org/model@v1") == "base_model:org/model"
    assert at_revision("org/model", OLD) == f"org/model@{OLD}"
    for model, revision in (("tracer", OLD), ("org/model", ""), ("org/model@v1", OLD)):
        assert at_revision(model, revision) == model


def test_a_mask_records_the_model_and_its_commit_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = load_model("tracer")
    scores = HeadMask.load("examples/masks/tracer").scores
    config = make_config({"model": "org/model@v1", "task": "tracing"})
    made = as_mask(model, scores, config, 1, {})
    assert (made.model, made.revision) == ("org/model", "v1")
    monkeypatch.setattr("rlkv.training.result.cached_commit", lambda ref: NEW)
    assert as_mask(model, scores, config, 1, {}).revision == NEW


def test_the_lines_to_paste_name_the_commit() -> None:
    mask = HeadMask.random(2, 2, sparsity=0.5, seed=0, model="org/model")
    pinned = replace(mask, revision=OLD)
    assert python_snippet(pinned).count(f'from_pretrained("org/model", revision="{OLD}")') == 2
    assert f"org/model@{OLD}" in shlex.split(cli_snippet(pinned))
    assert "org/model" in shlex.split(cli_snippet(mask))
    assert "revision" not in python_snippet(mask)
    card = hub_card(pinned, "me/mask")
    assert "base_model: org/model\n" in card
    assert f"--model org/model@{OLD}" in card
