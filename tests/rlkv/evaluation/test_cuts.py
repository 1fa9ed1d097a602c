"""Heads chosen by hand are those that are measured, and ties are not taken for a ranking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.evaluation.cells import Cell, cells
from rlkv.evaluation.config import EvalConfig, MaskEntry
from rlkv.evaluation.cuts import decides, notes, own_heads
from rlkv.evaluation.run import evaluate
from rlkv.masks import HeadMask
from tests.rlkv.evaluation.stage import MASK, Keeper, small

LEARNED = HeadMask.load(MASK)
WORST = np.argwhere(LEARNED.ranks() == LEARNED.kept.size - 1)[0]
PAINTED = LEARNED.at_sparsity(0.5).toggle(*map(int, WORST))
LINK = HeadMask.load(LEARNED.at_sparsity(0.5).to_link())


def plan(config: EvalConfig) -> list[Cell]:
    return cells(config, LEARNED.shape, {})


def of(mask: HeadMask, **values: object) -> EvalConfig:
    return small(masks=[MaskEntry.of(mask)], **values)


def test_the_heads_travel_with_the_mask() -> None:
    back = EvalConfig(**of(PAINTED).model_dump(mode="json")).masks[0].mask()
    assert np.array_equal(back.kept, PAINTED.kept)
    assert np.array_equal(back.scores, PAINTED.scores)


def test_a_painted_mask_is_measured_as_it_is(tmp_path: Path) -> None:
    config = of(PAINTED, methods=["learned"], problems=2, recent=12)
    keeper = Keeper()
    assert evaluate(config, tmp_path, keeper)
    infos = dict(keeper.cells)
    (own,) = [one for one in plan(config) if one.method == "kept"]
    assert infos[own.key]["title"] == "By hand"
    assert HeadMask.load(infos[own.key]["mask"]).kept.tolist() == PAINTED.kept.tolist()
    assert own.sparsity == pytest.approx(PAINTED.sparsity, abs=1e-4)
    assert own.mask.recent == 12
    assert {cell for cell, _, _ in keeper.samples} == set(infos)
    assert any("chosen by hand" in text for text in keeper.events)


def test_its_scores_are_swept_beside_it() -> None:
    config = of(PAINTED, methods=["learned"], sparsities=[0.3, 0.5])
    learned = [one for one in plan(config) if one.method == "learned"]
    assert [one.mask.kept.tolist() for one in learned] == [
        LEARNED.at_sparsity(s).kept.tolist() for s in (0.3, 0.5)
    ]


def test_a_learned_mask_gets_no_point_of_its_own() -> None:
    """Its heads at any cut are those of its ranking."""
    for sparsity in (0.0, 0.3, 0.77, 1.0):
        assert own_heads(MaskEntry.of(LEARNED.at_sparsity(sparsity)), [0.5]) is None
    assert list(notes(of(LEARNED, top=True))) == []


def test_ones_and_zeros_are_measured_at_their_own_sparsity_only() -> None:
    methods = ["learned", "inverse"]
    config = of(LINK, methods=methods, sparsities=[0.3, 0.5, 0.7], top=True)
    found = {one.key: one.mask.kept.tolist() for one in plan(config)[1:]}
    assert found == {
        "learned-0@0.5": LINK.kept.tolist(),
        "inverse@0.5": (~LINK.kept).tolist(),
    }
    straight, turned = notes(config)
    assert "Mask from a link are tied at sparsity 0.3, 0.7: not measured there" in straight
    assert "Turned round" in turned
    assert "tied at sparsity 0.1, 0.2, 0.3, 0.4, 0.7: not measured there" in turned


@pytest.mark.parametrize(
    ("above", "told"), [(0, True), (1, True), (2, False), (3, True), (4, True)]
)
def test_two_equal_scores_are_told_apart_by_no_line_between_them(above: int, told: bool) -> None:
    assert decides(np.array([[0.5, 1.0], [0.2, 0.5]]), above) is told


def test_only_the_first_mask_is_turned_round() -> None:
    entries = [MaskEntry.of(LEARNED), MaskEntry.of(LINK)]
    config = small(masks=entries, methods=["inverse"], sparsities=[0.3])
    assert list(notes(config)) == []
    (note,) = notes(small(masks=entries[::-1], methods=["inverse"], sparsities=[0.3]))
    assert note.startswith("Turned round")


def test_a_line_from_the_other_end_meets_other_ties() -> None:
    """24 of 32 heads kept: scores decide between the best 24 and the worst 8, nowhere else."""
    link = HeadMask.load(LEARNED.at_sparsity(0.25).to_link())
    assert link.n_kept == 24
    methods = ["learned", "inverse"]
    config = of(link, methods=methods, sparsities=[0.25, 0.75], top=True)
    found = {one.key: one.mask.kept.tolist() for one in plan(config)[1:]}
    assert found == {
        "learned-0@0.25": link.kept.tolist(),
        "inverse@0.75": (~link.kept).tolist(),
    }
    straight, turned = notes(config)
    assert "are tied at sparsity 0.75:" in straight
    assert "are tied at sparsity 0.1, 0.2, 0.25, 0.3, 0.4:" in turned


def test_the_top_is_measured_where_the_worst_heads_are_known() -> None:
    """The worst 22 are told from the others: what the top experiment keeps at 0.3 of 32 heads."""
    link = HeadMask.load(LEARNED.keep_best(10).to_link())
    config = of(link, methods=["learned"], sparsities=[0.3], top=True)
    tops = {one.key: one.mask.kept.tolist() for one in plan(config) if one.top}
    assert tops == {"learned-0-top@0.3": (~link.kept).tolist()}


def test_a_link_at_a_sparsity_that_nobody_asked_for_is_measured_under_its_name() -> None:
    (_, own) = plan(of(LINK, methods=["learned"], sparsities=[0.3, 0.7]))
    assert (own.title, own.method, own.sparsity) == ("Mask from a link", "kept", 0.5)
    assert own.mask.kept.tolist() == LINK.kept.tolist()


def test_heads_chosen_among_tied_scores_are_not_called_chosen_by_hand() -> None:
    """A mask whose ties fell by chance, as the paper's do."""
    tied = np.zeros((4, 8), np.float32)
    kept = np.zeros((4, 8), np.bool_)
    kept[:, ::2] = True
    config = of(HeadMask(tied, kept, name="noise"), methods=["learned"], sparsities=[0.5])
    (_, own) = plan(config)
    assert (own.title, own.mask.kept.tolist()) == ("noise", kept.tolist())


def test_of_several_masks_each_is_named() -> None:
    entries = [MaskEntry.of(LEARNED), MaskEntry.of(replace(PAINTED, name="mine"))]
    titles = [one.title for one in plan(small(masks=entries, methods=["learned"]))]
    assert titles == ["Full cache", LEARNED.name, "mine", "mine, by hand"]


def test_an_evaluation_of_before_opens_and_goes_on_as_it_was_begun() -> None:
    """Stored without the heads: swept by the scores alone, ties by layer and head."""
    old = of(LINK, methods=["learned"], sparsities=[0.3, 0.5]).model_dump(mode="json")
    del old["masks"][0]["kept"]
    config = EvalConfig(**old)
    assert [one.key for one in plan(config)] == ["full", "learned-0@0.3", "learned-0@0.5"]
    assert list(notes(config)) == []


def test_damaged_heads_are_refused() -> None:
    for text in ("AA==", "?"):
        entry = MaskEntry.of(LEARNED).model_copy(update={"kept": text})
        with pytest.raises(UserError, match="is damaged"):
            entry.mask()
