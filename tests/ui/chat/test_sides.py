"""What the sides of an answer are called, before and after its model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ui.chat import sides
from ui.studio import Settings, Studio

FULL = sides.Choice(sides.FULL, 0.0, 0, 1)
SHIPPED = sides.Choice("shipped", 0.5, 4, 16)
RANDOM = sides.Choice(sides.RANDOM, 0.5, 4, 16)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio.open(Settings(data_dir=tmp_path))
    yield studio
    studio.db.close()


@pytest.mark.parametrize("chosen", [(FULL, SHIPPED, RANDOM), (FULL, SHIPPED), (SHIPPED, SHIPPED)])
def test_sides_are_called_the_same_before_the_model_is_loaded(
    studio: Studio, chosen: tuple[sides.Choice, ...]
) -> None:
    slots = range(len(chosen))
    masks = [sides.mask_of(studio, one, (4, 8), "tracer") for one in chosen]
    known = sides.facts(masks, slots, [one.key for one in chosen])
    unknown = sides.unknown_facts(studio, chosen, slots)
    for name in ("name", "role", "slot"):
        assert [one[name] for one in unknown] == [one[name] for one in known]


def test_two_compressed_sides_are_told_apart_before_the_model_is_loaded(studio: Studio) -> None:
    said = sides.unknown_facts(studio, (FULL, SHIPPED, RANDOM), (0, 1, 2))
    assert [one["name"] for one in said] == ["Full", "Shipped example, 50 %", "Random heads, 50 %"]


def test_what_is_kept_of_a_mask_is_its_name_on_the_pages(studio: Studio) -> None:
    mask = sides.mask_of(studio, SHIPPED, (4, 8), "tracer")
    assert sides.side_facts(mask, "shipped")["mask"]["name"] == "Shipped example"
