"""The heads page's screen: what it opens with, what it compares with, how long it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlkv.masks import HeadMask
from ui import catalogue
from ui.heads.screen import drawn, first_cell, map_value, one_head, open_screen
from ui.heads.views import VIEWS
from ui.studio import Settings, Studio

SECONDS = 0.15


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio.open(Settings(data_dir=tmp_path))
    yield studio
    studio.db.close()


def saved(studio: Studio, mask: HeadMask) -> str:
    return studio.masks.save(mask.to_record()).id


def seeded(shape: tuple[int, int], seed: int, **info: object) -> HeadMask:
    scores = np.random.default_rng(seed).random(shape)
    notes = {"head_dim": 128, "itemsize": 2, "query_heads": 64, "task": "math", "seed": seed}
    return HeadMask.from_scores(scores, model="big", name=f"seed {seed}", info={**notes, **info})


def test_the_address_says_view_other_and_step(studio: Studio) -> None:
    asked = {"view": "change", "other": "opposite", "base": "40"}
    screen = open_screen(studio, None, asked)
    assert screen is not None
    assert (screen.view, screen.other, screen.beside.base) == ("change", "opposite", 40)


@pytest.mark.parametrize(
    "asked", [{"view": "<b>"}, {"base": "-1"}, {"base": "²"}, {"view": "difference", "other": "x"}]
)
def test_an_address_that_makes_no_sense_opens_something_sensible(
    studio: Studio, asked: dict[str, str]
) -> None:
    screen = open_screen(studio, None, asked)
    assert screen is not None
    assert screen.view in VIEWS
    assert screen.other == "random"
    assert json.dumps(map_value(screen, (0, 0), fresh=True), allow_nan=False)


def test_the_asked_head_is_open_else_the_one_needed_most(studio: Studio) -> None:
    screen = open_screen(studio, None, {})
    assert screen is not None
    best = tuple(np.argwhere(screen.mask.ranks() == 0)[0].tolist())
    assert first_cell(screen.mask, "2.5") == (2, 5)
    for asked in ("", "9.9", "a.b", "1", "1.", "²5", "1.5.2"):
        assert first_cell(screen.mask, asked) == best


def test_seeds_of_the_same_task_and_model_agree_one_a_seed(studio: Studio) -> None:
    key = saved(studio, seeded((4, 4), 0))
    saved(studio, seeded((4, 4), 1))
    saved(studio, seeded((4, 4), 1))
    saved(studio, seeded((4, 4), 0))
    saved(studio, seeded((4, 4), 2, task="code"))
    saved(studio, seeded((4, 2), 3))
    screen = open_screen(studio, key, {"view": "agreement"})
    assert screen is not None
    assert [peer.info["seed"] for peer in screen.beside.peers] == [1]


def test_a_mask_is_compared_with_any_other_of_its_shape(studio: Studio) -> None:
    key = saved(studio, seeded((4, 4), 0))
    other = saved(studio, seeded((4, 4), 1))
    wrong = saved(studio, seeded((4, 2), 1))
    screen = open_screen(studio, key, {"view": "difference", "other": other})
    assert screen is not None
    assert screen.beside.other is not None
    assert screen.beside.other.name == "“seed 1”"
    assert screen.viewed(studio, "difference", wrong).other == "random"


def test_the_opposite_of_tied_scores_keeps_the_other_heads(studio: Studio) -> None:
    """The masks of links know of each head only whether it is kept."""
    kept = np.eye(4, dtype=np.float32)[:2].repeat(2, 0)
    key = saved(studio, HeadMask.from_scores(kept, sparsity=0.5, model="m", name="tied"))
    screen = open_screen(studio, key, {"view": "difference", "other": "opposite"})
    assert screen is not None
    other = screen.beside.other
    assert other is not None
    assert screen.mask.n_kept == 8
    assert (other.mask.kept == ~screen.mask.kept).all()


def test_the_steps_of_a_training_are_sent_once(studio: Studio) -> None:
    screen = open_screen(studio, catalogue.SHIPPED, {})
    assert screen is not None
    first = map_value(screen, (0, 0), fresh=True)["frames"]
    assert len(first["steps"]) == len(first["rewards"]) > 10
    assert map_value(screen, (0, 0), fresh=False)["frames"] == "same"


def test_an_edit_that_changes_nothing_is_none(studio: Studio) -> None:
    screen = open_screen(studio, None, {})
    assert screen is not None
    assert screen.edited(screen.mask) is screen
    assert len(screen.edited(screen.mask.toggle(0, 0)).edits.past) == 1


@pytest.mark.parametrize("view", VIEWS)
def test_an_update_of_a_large_model_is_fast(studio: Studio, view: str) -> None:
    keys = [saved(studio, seeded((80, 8), seed)) for seed in range(4)]
    screen = open_screen(studio, keys[0], {"view": view})
    assert screen is not None
    times = []
    for sparsity in np.linspace(0.1, 0.9, 9):
        began = time.perf_counter()
        after = screen.edited(screen.mask.at_sparsity(float(sparsity)), cut_at=0.0)
        sent = json.dumps(drawn(replace(after, ack=1), (40, 3))[1])
        times.append(time.perf_counter() - began)
    median = sorted(times)[len(times) // 2]
    print(f"\n{view}: {1000 * median:.1f} ms, {len(sent) / 1024:.0f} KiB")
    assert median < SECONDS


def test_opening_a_head_of_a_large_model_is_fast(studio: Studio) -> None:
    screen = open_screen(studio, saved(studio, seeded((80, 8), 0)), {})
    assert screen is not None
    began = time.perf_counter()
    panel = one_head(screen, (79, 7))[0]
    assert time.perf_counter() - began < SECONDS
    assert "Head 79.7" in panel
    assert "model=big" in panel
