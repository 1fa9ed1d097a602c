"""Edits by hand: what they change, undo and redo, and the memory budget."""

from __future__ import annotations

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from ui.components.head_panel import HeadSize
from ui.heads.editing import MOST, Edits, best_under_budget, kv_megabytes, layer_mask, painted_mask

SIZE = HeadSize(head_dim=16, itemsize=4, group=2)


@pytest.fixture
def mask() -> HeadMask:
    scores = np.linspace(1.0, 0.0, 32).reshape(4, 8)
    return HeadMask.from_scores(scores, sparsity=0.5, sink=4, recent=16)


def test_a_stroke_changes_its_cells_only(mask: HeadMask) -> None:
    after = painted_mask(mask, [(3, 1), (3, 2)], True)
    assert np.argwhere(after.kept != mask.kept).tolist() == [[3, 1], [3, 2]]


def test_a_whole_layer(mask: HeadMask) -> None:
    assert layer_mask(mask, 3, True).kept[3].all()
    assert layer_mask(mask, 0, False).n_kept == mask.n_kept - 8


def test_undo_and_redo_walk_the_same_way(mask: HeadMask) -> None:
    masks = [mask]
    edits = Edits()
    for head in range(3):
        edits = edits.edited(masks[-1])
        masks.append(masks[-1].toggle(3, head))
    now = masks[-1]
    for before in reversed(masks[:-1]):
        edits, now = edits.undone(now)
        assert now == before
    assert edits.undone(now) == (edits, now)
    for after in masks[1:]:
        edits, now = edits.redone(now)
        assert now == after
    assert edits.redone(now) == (edits, now)


def test_a_new_edit_forgets_what_was_undone(mask: HeadMask) -> None:
    edits, back = Edits().edited(mask).undone(mask.toggle(0, 0))
    assert edits.future
    assert not edits.edited(back).future


def test_only_so_many_edits_are_kept(mask: HeadMask) -> None:
    edits = Edits()
    for _ in range(MOST + 20):
        edits = edits.edited(mask)
    assert len(edits.past) == MOST


def test_one_pull_of_the_slider_is_one_edit(mask: HeadMask) -> None:
    edits = Edits().edited(mask, cut_at=10.0)
    edits = edits.edited(mask.at_sparsity(0.6), cut_at=10.4)
    edits = edits.edited(mask.at_sparsity(0.7), cut_at=11.1)
    assert len(edits.past) == 1
    assert edits.undone(mask.at_sparsity(0.8))[1] == mask
    assert len(edits.edited(mask, cut_at=13.0).past) == 2
    assert len(edits.edited(mask).edited(mask, cut_at=11.2).past) == 3


@pytest.mark.parametrize(("length", "batch"), [(512, 1), (512, 8), (10, 3), (131072, 2)])
def test_as_many_heads_as_fit_and_not_one_more(mask: HeadMask, length: int, batch: int) -> None:
    full = kv_megabytes(mask.keep_best(32), SIZE, length, batch)
    least = kv_megabytes(mask.keep_best(0), SIZE, length, batch)
    budget = (full + least) / 2
    best = best_under_budget(mask, SIZE, megabytes=budget, length=length, batch=batch)
    assert kv_megabytes(best, SIZE, length, batch) <= budget + 1e-6
    if best.n_kept < 32:
        more = mask.keep_best(best.n_kept + 1)
        assert kv_megabytes(more, SIZE, length, batch) > budget - 1e-6


def test_a_budget_below_the_window_is_refused_with_what_is_needed(mask: HeadMask) -> None:
    with pytest.raises(UserError, match=r"0.01 MB are too few.* 0.082 MB are needed for 1 x 512"):
        best_under_budget(mask, SIZE, megabytes=0.01, length=512, batch=1)
    assert best_under_budget(mask, SIZE, megabytes=0.082, length=512, batch=1).n_kept == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"megabytes": 0.0}, "above 0"),
        ({"megabytes": float("nan")}, "above 0"),
        ({"megabytes": 1e12}, "up to 1,000,000,000"),
        ({"length": 0}, "whole numbers"),
        ({"length": 1.5}, "whole numbers"),
        ({"batch": -1}, "whole numbers"),
        ({"batch": float("inf")}, "whole numbers"),
        ({"size": None}, "no known size"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    mask: HeadMask, change: dict[str, float], words: str
) -> None:
    given = {"size": SIZE, "megabytes": 1.0, "length": 512, "batch": 1, **change}
    with pytest.raises(UserError, match=words):
        best_under_budget(mask, given.pop("size"), **given)  # type: ignore[arg-type]
