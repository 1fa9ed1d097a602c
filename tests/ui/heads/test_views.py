"""The views of a mask: each cell's value against what the mask itself says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlkv.gate_history import GateHistory
from rlkv.masks import HeadMask
from ui.heads.charts import charts, threshold
from ui.heads.views import (
    VIEWS,
    Beside,
    Other,
    base_step,
    compared_with,
    needed,
    ordered_by_gate,
    picture,
)

RNG = np.random.default_rng(3)
SCORES = RNG.random((6, 4)).astype(np.float32)
ALONE = Beside()


@pytest.fixture
def mask() -> HeadMask:
    return HeadMask.from_scores(SCORES, sparsity=0.5, sink=4, recent=16, model="tracer")


@pytest.fixture
def history() -> GateHistory:
    gates = np.stack([np.ones_like(SCORES), (1 + SCORES) / 2, SCORES])
    return GateHistory(np.array([0, 10, 20]), gates, np.array([0, 0.5, 1], np.float32))


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_has_a_value_and_words_for_every_head(
    view: str, mask: HeadMask, history: GateHistory
) -> None:
    beside = Beside(history, 10, Other("x", mask.inverse()), (mask.inverse(),))
    shown = picture(view, mask, beside)
    assert shown.values.shape == mask.shape
    assert np.isfinite(shown.values).all()
    for words in (shown.texts, shown.hover):
        assert [len(row) for row in words] == [4] * 6
    assert all("rank" in text for row in shown.hover for text in row)


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_is_empty_without_what_it_compares_with(view: str, mask: HeadMask) -> None:
    shown = picture(view, mask, ALONE)
    assert shown.values.shape == mask.shape
    if view in ("change", "agreement"):
        assert shown.legend["note"]


def test_rank_goes_from_one_to_nought(mask: HeadMask) -> None:
    shown = picture("rank", mask, ALONE)
    assert shown.values[np.unravel_index(SCORES.argmax(), SCORES.shape)] == 1.0
    assert shown.values[np.unravel_index(SCORES.argmin(), SCORES.shape)] == 0.0
    assert sorted(int(t) for row in shown.texts for t in row) == list(range(1, 25))


def test_kept_is_the_cut(mask: HeadMask) -> None:
    shown = picture("kept", mask, ALONE)
    assert (shown.values == mask.kept).all()
    assert f"{mask.n_kept} of 24" in shown.legend["note"]
    assert "4 first and the 16 latest" in shown.legend["note"]


def test_change_is_counted_from_the_chosen_step(mask: HeadMask, history: GateHistory) -> None:
    shown = picture("change", mask, Beside(history, 10))
    assert shown.values == pytest.approx(SCORES - (1 + SCORES) / 2)
    assert "step 10 to step 20" in shown.legend["note"]
    assert base_step(history, 11) == base_step(history, None) == 0


def test_a_difference_names_the_heads_only_one_mask_keeps(mask: HeadMask) -> None:
    moved = mask.toggle(0, 0)
    shown = picture("difference", mask, Beside(other=Other("mine", moved)))
    assert np.argwhere(shown.values).tolist() == [[0, 0]]
    assert shown.values[0, 0] == (1 if mask.kept[0, 0] else -1)
    assert "and 1 head differs" in shown.legend["note"]


def test_a_difference_is_seen_at_the_same_cut(mask: HeadMask) -> None:
    random = HeadMask.random(6, 4, sparsity=0.9, seed=1)
    theirs, cut = compared_with(mask, random)
    assert cut
    assert theirs.sum() == mask.n_kept


def test_a_mask_edited_by_hand_is_compared_as_it_is(mask: HeadMask) -> None:
    best = np.unravel_index(SCORES.argmax(), SCORES.shape)
    edited = mask.toggle(int(best[0]), int(best[1]))
    for one, other in ((edited, mask), (mask, edited)):
        theirs, cut = compared_with(one, other)
        assert not cut
        assert (theirs != one.kept).sum() == 1


def test_agreement_is_the_share_of_seeds_that_keep_a_head(mask: HeadMask) -> None:
    peers = tuple(HeadMask.random(6, 4, sparsity=0.2, seed=seed) for seed in range(3))
    shown = picture("agreement", mask, Beside(peers=peers))
    tables = [mask.kept, *(p.keep_best(mask.n_kept).kept for p in peers)]
    assert shown.values == pytest.approx(np.mean(tables, axis=0))
    assert shown.legend["note"].startswith("4 seeds")
    assert shown.texts[0][0] == f"{round(4 * shown.values[0, 0])}/4"


def test_one_seed_alone_is_compared_with_chance(mask: HeadMask) -> None:
    shown = picture("agreement", mask, ALONE)
    assert (shown.values == mask.kept).all()
    share = round(100 * mask.n_kept / 24)
    assert "only one seed here, so it agrees with itself. Train" in shown.legend["note"]
    assert f"by chance {share} %" in shown.legend["note"]


def test_gates_are_those_of_the_training_where_elimination_made_the_order(mask: HeadMask) -> None:
    noted = replace(mask, info={"gates": (1 - SCORES).tolist()})
    assert noted.gates == pytest.approx(1 - SCORES)
    assert not ordered_by_gate(noted)
    assert "low gate" in picture("gate", noted, ALONE).legend["note"]
    assert "note" not in picture("gate", mask, ALONE).legend
    assert (needed(noted).values == noted.scores).all()
    assert (needed(mask).values == mask.scores).all()


@pytest.mark.parametrize(
    "noted", ["x", [[1.0]], [[None] * 4] * 6, {"a": 1}, [[float("nan")] * 4] * 6]
)
def test_notes_that_are_no_gates_are_left_alone(mask: HeadMask, noted: object) -> None:
    assert (replace(mask, info={"gates": noted}).gates == mask.scores).all()


def test_the_charts_count_all_heads_and_mark_the_cut(mask: HeadMask) -> None:
    bars, layers, saved = charts(mask, 512)
    counted = {part["name"]: sum(part["values"]) for part in bars["series"]}
    assert counted == {"compressed": 24 - mask.n_kept, "kept": mask.n_kept}
    assert (mask.scores >= threshold(mask)).sum() == mask.n_kept
    assert bars["marker"]["x"] == saved["marker"]["x"] == threshold(mask)
    assert layers["series"][0]["values"] == pytest.approx(SCORES.mean(axis=1), abs=1e-5)
    points = saved["series"][0]["points"]
    assert points[0] == [0.0, 0.0]
    at = np.searchsorted([x for x, _ in points], threshold(mask), side="right")
    assert points[at - 1][1] <= mask.kv_saved(512) + 1e-6 <= points[min(at + 1, 100)][1] + 0.05


def test_a_cut_that_keeps_nothing_has_a_threshold(mask: HeadMask) -> None:
    assert threshold(mask.keep_best(0)) == 1.0
