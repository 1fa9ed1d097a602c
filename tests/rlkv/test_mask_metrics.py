"""A figure is published where it is that of this very mask, and as whose word it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rlkv.hub.card import hub_card
from rlkv.mask_card import card
from rlkv.mask_files.found import look
from rlkv.mask_metrics import CLAIMED, IMPORTED, figure
from rlkv.masks import HeadMask
from ui.api.masks import MaskEndpoints
from ui.library import view
from ui.library.averaging import average
from ui.library.importing import found_facts, store
from ui.library.shelf import item_of
from ui.studio import Settings, Studio

METRICS = {
    "n": 40, "target_sparsity": 0.75, "accuracy_full": 0.96875, "accuracy_at_50": 0.875,
    "accuracy_at_target": 0.625,
}  # fmt: skip
HALF, FULL, TARGET = "87.5 %", "96.9 %", "62.5 %"
TRAINED = HeadMask.random(
    4, 8, sparsity=0.5, seed=0, model="org/base", name="mine",
    info={"task": "maths", "seed": 0, "metrics": METRICS},
)  # fmt: skip
CHANGES: dict[str, Callable[[HeadMask], HeadMask]] = {
    "complement": HeadMask.inverse,
    "complement_by_hand": lambda mask: replace(mask, kept=~mask.kept),
    "one_head": lambda mask: mask.toggle(*_worst(mask)),
    "average": lambda mask: average([("a", mask), ("b", replace(mask, name="b"))]),
}


def _worst(mask: HeadMask) -> tuple[int, int]:
    flat = int(mask.ranks().argmax())
    return flat // mask.kv_heads, flat % mask.kv_heads


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio.open(Settings(data_dir=tmp_path / "data"))
    yield studio
    studio.db.close()


def everywhere(studio: Studio, mask: HeadMask) -> dict[str, str]:
    """What every place says of a mask that is kept."""
    row = studio.masks.save(mask.to_record())
    answer = MaskEndpoints(studio).get_mask(row.id)
    return {
        "card": card(mask),
        "hub_card": hub_card(mask, "org/mask"),
        "shelf": view.shelf([item_of(row)], 1, []),
        "api": f"{answer['accuracy_at_50']} {answer['info'].get('metrics')}",
    }


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_mask_does_not_publish_its_parents_figures(studio: Studio, change: str) -> None:
    changed = CHANGES[change](TRAINED)
    said = everywhere(studio, changed)
    for text in said.values():
        assert not any(one in text for one in (HALF, FULL, TARGET, "0.875", "88 %"))
    assert "## Results" not in said["card"]
    assert "model-index" not in said["hub_card"]
    assert said["api"] == "None None"


def test_a_file_of_a_changed_mask_does_not_either(tmp_path: Path) -> None:
    changed = TRAINED.toggle(*_worst(TRAINED))
    for saved in (changed.save(tmp_path / "m"), changed.save_zip(tmp_path / "m.zip")):
        assert "metrics" not in HeadMask.load(saved).info
    assert HeadMask.load(TRAINED.save(tmp_path / "t")).info["metrics"] == METRICS


def test_the_trained_mask_has_its_own_and_so_has_every_cut_of_it(studio: Studio) -> None:
    for mask in (TRAINED, TRAINED.at_sparsity(0.25), TRAINED.toggle(0, 0).toggle(0, 0)):
        said = everywhere(studio, mask)
        for where in ("card", "hub_card"):
            assert HALF in said[where]
            assert FULL in said[where]
            assert TARGET not in said[where], "measured at another cut"
        assert "model-index" in said["hub_card"]
        assert "88 %" in said["shelf"]
        assert said["api"].startswith("0.875")
    assert TARGET in card(TRAINED.at_sparsity(0.75))
    unknown = replace(TRAINED, info={"metrics": {"accuracy_at_target": 0.625}})
    assert figure(unknown, "accuracy_at_target") is None


def test_figures_from_the_hub_are_claimed_too(studio: Studio) -> None:
    fetched = replace(TRAINED, info={**TRAINED.info, "hub": {"repo": "org/mask"}})
    row = studio.masks.save(fetched.to_record())
    assert ">claimed</small>" in view.shelf([item_of(row)], 1, [])


def test_figures_of_a_file_are_its_writers_word(studio: Studio, tmp_path: Path) -> None:
    found = look(TRAINED.save_zip(tmp_path / "m.zip"))
    assert CLAIMED in found_facts(found)
    key = store(studio, found.mask, "m.zip", found.form)
    kept = HeadMask.from_record(asdict(studio.masks.get(key)))
    assert IMPORTED in kept.info
    assert CLAIMED.capitalize() in card(kept)
    assert "end of its training" not in card(kept)
    assert "model-index" not in hub_card(kept, "org/mask")
    assert ">claimed</small>" in view.shelf([item_of(studio.masks.get(key))], 1, [])
    answer = MaskEndpoints(studio).get_mask(key)
    assert (answer["accuracy_at_50"], answer["accuracy_claimed"]) == (0.875, True)
    edited = look(TRAINED.toggle(*_worst(TRAINED)).save(tmp_path / "m"))
    assert CLAIMED not in found_facts(edited)
