"""What the evaluation page shows of its points."""

from __future__ import annotations

from rlkv.evaluation.cells import cells
from rlkv.evaluation.results import results
from rlkv.evaluation.samples import Sample
from rlkv.masks import HeadMask
from rlkv.worker.evaluating import summary
from tests.rlkv.evaluation.stage import MASK, small
from ui.components.eval_curves import accuracy_curves, length_curves
from ui.evaluation.measured import Measured
from ui.evaluation.view import choices, few


def test_every_point_can_be_chosen_by_a_name_of_its_own() -> None:
    config = small(random_seeds=2, top=True)
    plan = cells(config, HeadMask.load(MASK).shape, {})
    names = [name for name, _ in choices([(cell.key, cell.info()) for cell in plan])]
    assert len(set(names)) == len(names) == len(plan)
    assert {"Random 1, 50 %", "Random 1, top compressed, 10 %"} <= set(names)


def test_masks_of_one_name_and_sparsities_that_round_alike_are_told_apart() -> None:
    twice = small().masks * 2
    plan = cells(small(masks=twice, sparsities=[0.12, 0.125]), HeadMask.load(MASK).shape, {})
    names = [name for name, _ in choices([(cell.key, cell.info()) for cell in plan])]
    assert len(set(names)) == len(names)
    name = twice[0].name
    assert {f"{name} (1), 12 %", f"{name} (1), 12.5 %", f"{name} (2), 12 %"} <= set(names)


def test_random_has_its_curve_in_the_reasoning_heads_chart() -> None:
    config = small(random_seeds=2, top=True)
    plan = cells(config, HeadMask.load(MASK).shape, {})
    marks = [Sample(cell.key, i, 0, "", "right", "end", 1, 2, 3) for cell in plan for i in (0, 1)]
    found = results([(cell.key, cell.info()) for cell in plan], marks, problems=2)
    drawn = accuracy_curves(found, top=True)
    assert drawn is not None
    curves = {one["key"]: one["points"] for one in drawn["series"]}
    assert sorted(curves) == ["learned-0-top", "random-top"]
    assert [len(points) for points in curves.values()] == [4, 4]


def test_a_near_lossless_point_of_few_problems_says_what_can_hide_behind_it() -> None:
    def said(problems: int, right: int) -> tuple[str, str]:
        config = small(methods=["learned"], problems=problems)
        plan = [(c.key, c.info()) for c in cells(config, HeadMask.load(MASK).shape, {})]
        marks = [
            Sample(key, i, 0, "", "right" if i < right else "wrong", "end", 1, 2, 3)
            for key, _ in plan
            for i in range(problems)
        ]
        found = results(plan, marks, problems=problems)
        return few(Measured("job", 1, config, found)), summary(found, config)

    page, last_line = said(8, 8)
    assert "a loss of up to 31 points can go unseen" in page
    assert "8 problems are few, 31 points can go unseen" in last_line
    for shown in said(100, 60):
        assert "unseen" not in shown


def test_points_that_are_still_measured_are_in_no_curve() -> None:
    """Short problems come first, so they would flatter."""
    plan = cells(small(), HeadMask.load(MASK).shape, {})
    pairs = [(cell.key, cell.info()) for cell in plan]
    marks = [Sample(cell.key, i, 0, "", "right", "end", 1, 4, 32) for cell in plan for i in (0, 1)]
    for curves in (accuracy_curves, length_curves):
        whole = curves(results(pairs, marks, problems=2))
        assert whole is not None
        assert [one["key"] for one in whole["series"]] == ["learned-0", "random"]
        assert whole["series"][0]["points"][0]["x"] == [0.5, 32, 8]  # sparsity, bytes, a token
        part = curves(results(pairs, marks[:-1], problems=2))
        assert part is not None
        assert [one["key"] for one in part["series"]] == ["learned-0"]
        assert curves(results(pairs, marks[1:], problems=2)) is None  # nor without the full cache
