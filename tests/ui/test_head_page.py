"""Addresses of heads, what is measured for whom, links to elsewhere: without a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.explore.table import HeadTable
from rlkv.masks import HeadMask
from tests.ui.handlers import built, handler
from ui import catalogue, finder, measured, neuronpedia
from ui.engine import MODEL
from ui.engines import MOST, Engines
from ui.head import change, facts, looking, page
from ui.head.here import Here, from_address, link, parsed, require_model
from ui.studio import Settings, Studio


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.open(Settings(data_dir=tmp_path / "data"))


@pytest.fixture
def here(studio: Studio) -> Here:
    found = from_address(studio, {"head": "1.2"})
    assert found is not None
    return found


def test_an_address_names_mask_model_and_head(studio: Studio) -> None:
    found = from_address(
        studio, {"mask": "shipped:smollm2-135m-repeat-seed1", "head": "29.2", "model": "a/b"}
    )
    assert found is not None
    assert (found.cell, found.model) == ((29, 2), "a/b")
    assert found.mask.shape == (30, 3)
    assert found.address() == link(found.entry.key, "a/b", 29, 2)
    assert "%3A" in found.address()  # quoted


@pytest.mark.parametrize("text", ["4.0", "0.8", "-1.0", "1", "1.2.3", "a.b", "", "1.2 "])
def test_heads_that_are_not_there_are_none(text: str) -> None:
    assert parsed(text, (4, 8)) is None
    assert parsed("3.7", (4, 8)) == (3, 7)


def test_nonsense_opens_the_head_needed_most(studio: Studio) -> None:
    found = from_address(studio, {"mask": "gone", "head": "99.1"})
    assert found is not None
    assert found.entry.key == catalogue.SHIPPED
    assert found.mask.ranks()[found.cell] == 0


def test_a_public_copy_loads_its_own_model_only(tmp_path: Path, here: Here) -> None:
    public = Studio.open(Settings(shared=True, data_dir=tmp_path / "public"))
    require_model(public, here)
    with pytest.raises(UserError, match="embedded model only"):
        require_model(public, here.on("/etc"))


def test_a_link_downloads_and_loads_no_model_unasked(
    studio: Studio, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(studio: Studio, here: Here, *given: object) -> list[object]:
        measured.append(here.model)
        return []

    monkeypatch.setattr(looking, "measure", measure)
    app = built(lambda app: page.build(studio, app))
    parts: Any = SimpleNamespace(looking=SimpleNamespace(shown=lambda: [None] * 7))
    look = page._quietly(studio, parts)
    for model in ("org/some-7b", "random:llama-135m", "x" * 300):
        query = SimpleNamespace(query_params={"model": model})
        handler(app, "ui.head.page.opened")(query)
        assert studio.engines.status(model).state == "absent"
        said = look(here.on(model), "text", looking.PLAIN, "Mean", None)
        assert f"Press Look to load {model}." in said[1]
    assert measured == []
    for model in (MODEL, str(tmp_path)):
        look(here.on(model), "text", looking.PLAIN, "Mean", None)
    assert measured == [MODEL, str(tmp_path)]


def test_shipped_measurements_are_there_and_fit(studio: Studio, here: Here) -> None:
    table = measured.known(studio, here.entry, MODEL)
    assert table is not None
    assert (table.sink_tokens, table.recent_tokens) == (here.mask.sink, here.mask.recent)
    assert table.shape == here.mask.shape
    assert measured.known(studio, here.entry, "another/model") is None


def test_what_was_measured_is_kept_for_model_task_and_window(studio: Studio) -> None:
    mask = HeadMask.from_scores(np.linspace(0, 1, 32).reshape(4, 8), sink=2, recent=9, model=MODEL)
    entry = catalogue.Entry("mine", mask)
    assert measured.known(studio, entry, MODEL) is None
    table = measured.measure(studio, entry, MODEL)
    again = measured.known(studio, entry, MODEL)
    assert isinstance(again, HeadTable)
    assert np.array_equal(again.measures["far"], table.measures["far"])
    assert table.recent_tokens == 9
    other = catalogue.Entry("other", replace(mask, recent=10))
    assert measured.known(studio, other, MODEL) is None


def test_visitors_are_not_shown_files_that_a_mask_names(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exam = tmp_path / "exam.jsonl"
    rows = [{"prompt": f"What is secret {n}?", "answer": "42"} for n in range(20)]
    exam.write_text("\n".join(map(json.dumps, rows)))
    mask = replace(here.mask, info={**here.mask.info, "task": f"jsonl:{exam}"})
    mine = replace(here, entry=catalogue.Entry("mine", mask))
    assert "secret" in looking.default_text(mine)
    monkeypatch.setenv("RLKV_SHARED", "1")
    assert measured.task_of(mask) == "tracing"
    assert looking.default_text(mine) == looking.default_text(here) != ""


def test_a_mask_of_another_shape_is_not_measured(studio: Studio) -> None:
    entry = catalogue.Entry("mine", HeadMask.random(2, 2, sparsity=0.5, seed=0))
    with pytest.raises(UserError, match="2 layers x 2"):
        measured.measure(studio, entry, MODEL)


def test_the_finder_lists_every_head_once_in_order(studio: Studio, here: Here) -> None:
    table = measured.known(studio, here.entry, MODEL)
    assert table is not None
    rows = finder.rows_of(here.entry, table)
    assert [row.values[1] for row in rows] == list(range(1, 33))
    assert len({row.head for row in rows}) == 32
    assert sum(row.kept for row in rows) == here.mask.n_kept


def test_the_two_masks_differ_in_the_head_alone(here: Here) -> None:
    for base in (change.ALONE, change.IN_MASK):
        before, after = change.before_and_after(here, base)
        assert np.argwhere(before.kept != after.kept).tolist() == [list(here.cell)]
    assert change.before_and_after(here, change.ALONE)[0].kept.all()


def test_names_stay_text(here: Here) -> None:
    evil = replace(here, entry=replace(here.entry, key="x", mask=replace(here.mask, name="<b>x")))
    assert "<b>x" not in facts.title(replace(evil, model="<img src=x>"))
    assert "<img" not in facts.title(replace(evil, model="<img src=x>"))


def test_hybrid_rows_name_the_models_layer(here: Here) -> None:
    mask = replace(here.mask, info={**here.mask.info, "layer_ids": [5, 11, 17, 23]})
    hybrid = replace(here, entry=replace(here.entry, mask=mask))
    assert facts.layer_index(hybrid) == 11
    assert "row 1 of the mask" in facts.place(hybrid)


def test_neuronpedia_has_pages_of_query_heads() -> None:
    found = neuronpedia.links("Qwen/Qwen3-4B", 7, range(4, 8))
    assert [head for head, _ in found] == [4, 5, 6, 7]
    assert found[0][1] == "https://www.neuronpedia.org/qwen3-4b/head/7/4"
    assert neuronpedia.links("tracer", 0, range(2)) == []


def test_models_make_room_for_others() -> None:
    engines = Engines()
    first = engines.of("random:llama-135m")
    assert engines.of("random:llama-135m") is first
    for number in range(MOST):
        engines.of(f"no/such{number}")
    assert engines.of("random:llama-135m") is not first
    assert engines.of(MODEL) is engines.embedded


def test_a_model_that_could_not_be_loaded_is_tried_again() -> None:
    engines = Engines()
    first = engines.of("/no/such/model")
    with pytest.raises(UserError, match="no model"):
        first.wait(60)
    assert engines.of("/no/such/model") is not first


def test_a_mask_made_by_hand_names_its_origin_and_keeps_its_training(studio: Studio) -> None:
    shipped = catalogue.find(studio, catalogue.SHIPPED)
    assert shipped is not None
    noted = {"name": "Shipped <b>", "key": catalogue.SHIPPED}
    mine = replace(shipped.mask.toggle(0, 0), name="Mine", info={catalogue.MADE_FROM: noted})
    key = studio.masks.save(mine.to_record()).id
    found = catalogue.find(studio, key)
    assert found is not None
    assert catalogue.made_from(found.mask) == ("Shipped <b>", catalogue.SHIPPED)
    played = catalogue.history(studio, found)
    assert played is not None
    assert len(played) == 150
    assert any("Mine" in label and "from Shipped <b>" in label for label, _ in
               catalogue.choices(studio))  # fmt: skip
    forged = replace(mine, info={catalogue.MADE_FROM: "x"})
    assert catalogue.made_from(forged) == ("", "")
