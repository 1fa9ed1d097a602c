"""Settings of an evaluation: what is refused and how, and which points follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.evaluation.cells import cells
from rlkv.evaluation.config import EvalConfig, MaskEntry, make_eval_config
from rlkv.masks import HeadMask
from tests.rlkv.evaluation.stage import MASK, small

LEARNED = HeadMask.load(MASK)


def test_a_mask_travels_whole() -> None:
    back = EvalConfig(**small().model_dump(mode="json")).masks[0].mask()
    assert np.array_equal(back.scores, LEARNED.scores)
    assert (back.sink, back.recent) == (LEARNED.sink, LEARNED.recent)


def test_a_mask_from_a_link_is_called_by_the_whole_link() -> None:
    """Of a model with 32 x 32 heads, and with a name of its own in it."""
    mask = HeadMask.random(32, 32, sparsity=0.5, seed=0, model="org/" + "m" * 60)
    link = mask.to_link()
    assert len(link) > 200
    entry = MaskEntry.of(HeadMask.load(link), link)
    assert small(masks=[entry]).masks[0].key == link


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"methods": ["learnt"]}, "Methods: choose some of learned"),
        ({"sparsities": "0.5, half"}, "Sparsities: give numbers such as"),
        ({"sparsities": [0.0]}, "above 0 and up to 1"),
        ({"sparsities": " , "}, "Sparsities: give at least one number"),
        ({"problems": 0}, "Problems:"),
        ({"methods": ["inverse"]}, "Choose a learned mask"),
        ({"temprature": 1}, "temprature:"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_eval_config(values)


def test_a_damaged_mask_is_refused() -> None:
    entry = MaskEntry.of(LEARNED).model_copy(update={"layers": 3})
    with pytest.raises(UserError, match="is damaged"):
        entry.mask()


def test_sparsities_come_as_text_or_numbers() -> None:
    assert make_eval_config({"methods": [], "sparsities": "0.7; .3,0.30"}).sparsities == (0.3, 0.7)


def test_all_methods_compress_equally_many_heads_with_one_window() -> None:
    methods = ["learned", "random", "inverse", "streaming", "far", "h2o", "rkv"]
    config = small(methods=methods, sparsities=[0.3, 0.6], recent=24, random_seeds=2)
    ranking = {"far": np.random.default_rng(0).normal(size=LEARNED.shape).astype(np.float32)}
    plan = cells(config, LEARNED.shape, ranking)
    assert len({cell.key for cell in plan}) == len(plan) == 1 + 2 * 7 + 1
    for sparsity in (0.3, 0.6):
        kept = {cell.mask.n_kept for cell in plan if cell.sparsity == sparsity}
        assert kept == {LEARNED.at_sparsity(sparsity).n_kept}
    assert {(cell.mask.sink, cell.mask.recent) for cell in plan} == {(LEARNED.sink, 24)}
    assert (plan[0].key, plan[0].mask.sparsity) == ("full", 0.0)
    (none,) = [cell for cell in plan if cell.key == "streaming"]
    assert none.mask.n_kept == 0
    assert [cell.method for cell in plan[-4:]] == ["h2o", "rkv"] * 2  # the slow ones last


def test_a_ranking_outside_zero_to_one_keeps_its_order() -> None:
    scores = np.linspace(-3, 5, LEARNED.scores.size, dtype=np.float32).reshape(LEARNED.shape)
    config = small(methods=["far"], sparsities=[0.5])
    (point,) = [c for c in cells(config, LEARNED.shape, {"far": scores}) if c.method == "far"]
    assert point.mask.kept.ravel().tolist() == [False] * 16 + [True] * 16


def test_the_top_is_compressed_in_the_reasoning_heads_experiment() -> None:
    config = small(methods=["learned"], sparsities=[0.5], top=True)
    tops = [cell for cell in cells(config, LEARNED.shape, {}) if cell.top]
    assert [cell.sparsity for cell in tops] == [0.1, 0.2, 0.3, 0.4]
    for cell in tops:
        best = LEARNED.ranks() < (~cell.mask.kept).sum()
        assert np.array_equal(~cell.mask.kept, best)


def test_the_top_of_random_rankings_is_compressed_beside_them() -> None:
    """The same rankings as at the bottom, turned round; all seeds are one curve."""
    config = small(methods=["learned", "random"], sparsities=[0.3], top=True, random_seeds=2)
    plan = cells(config, LEARNED.shape, {})
    tops = [cell for cell in plan if cell.top and cell.method == "random"]
    assert [cell.sparsity for cell in tops] == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]
    assert {cell.series for cell in tops} == {"random-top"}
    for seed in range(2):
        (bottom,) = [cell for cell in plan if cell.key == f"random-{seed}@0.3"]
        (top,) = [cell for cell in plan if cell.key == f"random-{seed}-top@0.3"]
        lost = int((~top.mask.kept).sum())
        assert lost == int((~bottom.mask.kept).sum())
        assert np.array_equal(~top.mask.kept, bottom.mask.ranks() < lost)
    assert not [
        c
        for c in cells(small(methods=["learned"], top=True), LEARNED.shape, {})
        if c.method == "random"
    ]


def test_scores_of_another_scale_are_cut_by_their_order() -> None:
    """Gradients are no shares: clipped to 1, the largest would all be equal."""
    config = small(methods=["reward_gradient"], masks=[], sparsities=[0.5])
    scores = np.arange(32, dtype=np.float32).reshape(4, 8)
    for table in (scores, scores - 16):
        (_, cut) = cells(config, (4, 8), {"reward_gradient": table})
        assert np.array_equal(cut.mask.kept, scores > 15)
