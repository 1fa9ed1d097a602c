"""What samples say: accuracy, its interval, differences, errors, and where loss begins."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.evaluation.export import page, points_csv, read_record, record, samples_csv
from rlkv.evaluation.figures import figures
from rlkv.evaluation.results import (
    Interval,
    Point,
    Results,
    bootstrap,
    gain,
    near_lossless,
    results,
)
from rlkv.evaluation.samples import Sample


def info(series: str, sparsity: float, method: str = "learned", top: bool = False) -> Any:
    names = {"series": series, "title": series.title(), "method": method, "top": top}
    return {**names, "sparsity": sparsity, "kept": 16, "heads": 32}


def answers(cell: str, verdicts: Sequence[str], tokens: int = 10) -> list[Sample]:
    return [
        Sample(cell, i, 0, f"answer {i}", v, "end", tokens, tokens + 5, 100 * tokens)  # type: ignore[arg-type]
        for i, v in enumerate(verdicts)
    ]


def table(marks: list[Sample], cells: Sequence[tuple[str, Any]], n: int) -> Results:
    return results([("full", info("full", 0.0, "full")), *cells], marks, problems=n)


def curve(rights: Sequence[int], n: int = 100) -> Results:
    """A learned series that gets so many of `n` right at 10 %, 20 %, ...; the full cache all."""
    cells = [(f"learned@{i}", info("learned", (i + 1) / 10)) for i in range(len(rights))]
    marks = answers("full", ["right"] * n)
    for i, right in enumerate(rights):
        marks += answers(f"learned@{i}", ["right"] * right + ["wrong"] * (n - right))
    return table(marks, cells, n)


def test_a_point_tells_accuracy_length_bytes_and_errors() -> None:
    verdicts = ["right", "wrong", "overlong", "repetitive"]
    marks = answers("full", ["right"] * 4) + answers("learned@0", verdicts, tokens=20)
    found = table(marks, [("learned@0", info("learned", 0.5))], 4)
    (point,) = found.series[0].points
    assert (point.accuracy, point.difference, point.tokens, point.tokens_right) == (
        0.25, -0.75, 20.0, 20.0,
    )  # fmt: skip
    assert (point.kv_bytes, point.length) == (2000.0, 25.0)
    assert point.modes == dict.fromkeys(verdicts, 0.25)
    assert found.full is not None
    assert found.full.difference is None
    assert (found.samples, found.wanted, found.complete) == (8, 8, True)


def test_the_length_of_right_answers_is_told_by_itself() -> None:
    marks = answers("full", ["right"] * 2) + answers("learned@0", ["right", "overlong"])
    marks[-1] = replace(marks[-1], tokens=90)
    (point,) = table(marks, [("learned@0", info("learned", 0.5))], 2).series[0].points
    assert (point.tokens, point.tokens_right) == (50.0, 10.0)
    marks[-2] = replace(marks[-2], verdict="wrong")
    (point,) = table(marks, [("learned@0", info("learned", 0.5))], 2).series[0].points
    assert point.tokens_right is None


def test_every_drawn_answer_is_waited_for() -> None:
    cells = [("full", info("full", 0.0, "full")), ("learned@0", info("learned", 0.5))]
    once = answers("full", ["right"] * 2) + answers("learned@0", ["right"] * 2)
    half = results(cells, once, problems=2, draws=2)
    assert (half.samples, half.wanted, half.complete) == (4, 8, False)
    assert half.full is not None
    assert not half.full.complete
    assert not half.series[0].points[0].complete
    whole = results(cells, [*once, *(replace(m, draw=1) for m in once)], problems=2, draws=2)
    assert whole.complete
    assert whole.series[0].points[0].complete
    assert not results([], [], problems=0).complete


def test_the_difference_is_of_problems_that_both_were_asked() -> None:
    marks = answers("full", ["wrong"]) + answers("learned@0", ["right", "wrong"])
    (point,) = table(marks, [("learned@0", info("learned", 0.5))], 2).series[0].points
    assert (point.accuracy, point.difference) == (0.5, 1.0)


def test_a_curve_goes_by_sparsity_in_whatever_order_it_was_planned() -> None:
    cells = [(f"learned@{s}", info("learned", s)) for s in (0.7, 0.3, 0.5)]
    marks = answers("full", ["right"] * 20)
    for key, _ in cells:
        marks += answers(key, ["wrong" if key.endswith("0.5") else "right"] * 20)
    (series,) = table(marks, cells, 20).series
    assert [point.sparsity for point in series.points] == [0.3, 0.5, 0.7]
    best = near_lossless(series, 0.03)
    assert best is not None
    assert best.sparsity == 0.3


def test_random_masks_are_one_point_with_all_their_answers() -> None:
    marks = answers("full", ["right"] * 2)
    marks += answers("random-0", ["right", "wrong"]) + answers("random-1", ["right", "right"])
    cells = [(f"random-{i}", info("random", 0.5, "random")) for i in range(2)]
    (point,) = table(marks, cells, 2).series[0].points
    assert (point.accuracy, point.samples, point.problems) == (0.75, 4, 2)
    assert point.cells == ("random-0", "random-1")


def random_point(shares: Sequence[float], n: int = 100) -> Point:
    """Of random masks that get these shares right, each of problems of its own choice."""
    draw = np.random.default_rng(3)
    marks = answers("full", ["right"] * n)
    cells = []
    for i, share in enumerate(shares):
        verdicts = np.array(["right"] * round(share * n) + ["wrong"] * (n - round(share * n)))
        marks += answers(f"random-{i}", draw.permutation(verdicts).tolist())
        cells.append((f"random-{i}", info("random", 0.5, "random")))
    return table(marks, cells, n).series[0].points[0]


def pooled(shares: Sequence[float], n: int = 100) -> Interval:
    """What an interval over problems alone would be."""
    draw = np.random.default_rng(3)
    rows = [draw.permutation(np.arange(n) < round(share * n)) for share in shares]
    return bootstrap(np.mean(rows, axis=0))


def test_masks_that_differ_widen_the_interval_of_random() -> None:
    shares = [0.1, 0.3, 0.5, 0.7, 0.9]
    point, (low, high) = random_point(shares), pooled(shares)
    width = point.interval[1] - point.interval[0]
    assert width > 2 * (high - low)
    # The spread of the mean of five masks, +-1.96 standard errors, and a little for problems.
    spread = 2 * 1.96 * np.std(shares) / np.sqrt(5)
    assert spread * 0.95 < width < spread * 1.3
    assert point.difference_interval is not None
    assert point.difference_interval[1] - point.difference_interval[0] == pytest.approx(width)
    alike = random_point([0.5] * 5)
    assert alike.interval[1] - alike.interval[0] < width / 2


def test_masks_are_drawn_and_problems_stay_together() -> None:
    """All masks fail on the same problems: as many masks as one likes say no more than one."""
    one = (np.arange(100) < 60).astype(float)
    assert bootstrap(np.tile(one, (5, 1))) == bootstrap(one) == bootstrap(one[None])


def test_a_random_point_that_is_still_measured_has_an_interval() -> None:
    marks = answers("full", ["right"] * 4) + answers("random-0", ["right", "wrong"] * 2)
    marks += answers("random-1", ["wrong"])
    cells = [(f"random-{i}", info("random", 0.5, "random")) for i in range(2)]
    (point,) = table(marks, cells, 4).series[0].points
    assert not point.complete
    assert np.isfinite(point.interval).all()
    assert point.difference_interval is not None


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(7)
    hits = 0
    for trial in range(200):
        low, high = bootstrap((draw.random(200) < 0.8).astype(float), seed=trial)
        hits += low <= 0.8 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_differences_are_taken_problem_by_problem() -> None:
    """Wrong on the same problems as the full cache: no difference, and no doubt about it."""
    verdicts = ["right", "wrong"] * 50
    marks = answers("full", verdicts) + answers("same", verdicts)
    marks += answers("other", verdicts[::-1])
    cells = [("same", info("same", 0.5)), ("other", info("other", 0.5))]
    same, other = table(marks, cells, 100).series
    assert same.points[0].difference_interval == (0.0, 0.0)
    low, high = other.points[0].difference_interval or (0, 0)
    assert other.points[0].difference == 0.0
    assert low < -0.1 < 0.1 < high


def test_near_lossless_is_the_last_point_before_the_first_loss() -> None:
    found = curve([100, 99, 98, 80, 100])
    best = near_lossless(found.series[0], tolerance=0.06)
    assert best is not None
    assert best.sparsity == pytest.approx(0.3)
    assert near_lossless(curve([90, 100]).series[0], tolerance=0.06) is None


def test_near_lossless_asks_for_the_interval_and_not_for_the_mean() -> None:
    few, many = curve([19], n=20), curve([190], n=200)  # both 5 points lower
    assert near_lossless(few.series[0], tolerance=0.1) is None
    assert near_lossless(many.series[0], tolerance=0.1) is not None


def test_what_just_keeps_to_the_tolerance_is_near_lossless() -> None:
    (series,) = curve([98]).series
    point = replace(series.points[0], difference_interval=(-0.03, 0.0))
    assert near_lossless(replace(series, points=(point,)), tolerance=0.03) is point


def test_the_table_can_be_read_before_the_end() -> None:
    marks = answers("full", ["right"] * 3)
    found = table(marks, [("learned@0", info("learned", 0.5))], 4)
    assert (found.complete, found.series[0].points) == (False, ())
    assert found.full is not None
    assert not found.full.complete


def test_a_point_that_is_still_measured_is_not_near_lossless() -> None:
    cells = [("learned@0", info("learned", 0.5))]
    whole = answers("full", ["right"] * 20)
    (series,) = table(whole + answers("learned@0", ["right"] * 19), cells, 20).series
    assert (series.points[0].accuracy, series.points[0].complete) == (1.0, False)
    assert near_lossless(series, 0.1) is None


def test_csv_json_and_page_hold_the_same_points(tmp_path: Path) -> None:
    found = curve([100, 98, 80])
    rows = list(csv.DictReader(io.StringIO(points_csv(found))))
    assert [(r["series"], float(r["accuracy"])) for r in rows] == [
        ("full", 1.0), ("learned", 1.0), ("learned", 0.98), ("learned", 0.8),
    ]  # fmt: skip
    told = json.loads(json.dumps(record(found, {"tolerance": 0.06, "model": "m"}, {})))
    assert told["series"][0]["near_lossless"] == pytest.approx(0.2)
    assert told["series"][0]["points"][2]["accuracy"] == 0.8
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(told))
    assert read_record(path) == (found, {"tolerance": 0.06, "model": "m"}, {})
    path.write_text(json.dumps({**told, "schema": 99}))
    with pytest.raises(UserError, match="no record"):
        read_record(path)
    shown = page(found, {"model": "<b>m</b>", "task": "t"}, {})
    assert "<b>m</b>" not in shown
    assert "Plotly.newPlot" in shown
    assert 'src="http' not in shown


def test_exports_say_which_points_are_still_measured() -> None:
    """Short problems come first: drawn with the others such a point would flatter."""
    cells = [("learned@0", info("learned", 0.5)), ("learned@1", info("learned", 0.6))]
    marks = answers("full", ["right"] * 4) + answers("learned@0", ["right"] * 4)
    found = table(marks + answers("learned@1", ["right"] * 2), cells, 4)
    rows = list(csv.DictReader(io.StringIO(points_csv(found))))
    assert [row["complete"] for row in rows] == ["1", "1", "0"]
    curves = dict(figures(found))
    assert list(curves["Accuracy against sparsity"].data[0].x) == [0.5]
    assert list(curves["How answers ended"].data[0].x) == ["Full cache", "Learned, 50%"]
    begun = table(answers("full", ["right"] * 3), cells, 4)
    assert all(not figure.data for _, figure in list(figures(begun))[:3])


def test_sparsities_that_round_alike_are_bars_of_their_own() -> None:
    cells = [(f"learned@{s}", info("learned", s)) for s in (0.12, 0.125)]
    marks = answers("full", ["right"]) + [m for key, _ in cells for m in answers(key, ["right"])]
    bars = dict(figures(table(marks, cells, 1)))["How answers ended"].data[0]
    assert list(bars.x) == ["Full cache", "Learned, 12%", "Learned, 12.5%"]


def test_two_cells_are_compared_problem_by_problem() -> None:
    a = answers("a", ["right"] * 80 + ["wrong"] * 20)
    b = answers("b", ["right"] * 70 + ["wrong"] * 30)
    found = gain(a, b)
    assert found is not None
    more, (low, high), problems = found
    assert more == pytest.approx(-0.1)
    assert problems == 100
    # Ten problems lost and none won: the spread is of those ten, not of two accuracies apart.
    spread = 1.96 * np.sqrt(0.1 * 0.9 / 100)
    assert low == pytest.approx(-0.1 - spread, abs=0.015)
    assert high == pytest.approx(-0.1 + spread, abs=0.015)
    assert gain(a, b[:50]) == (0.0, (0.0, 0.0), 50)
    assert gain(a, []) is None


def test_a_text_that_looks_like_a_formula_stays_a_text() -> None:
    evil = Sample("full", 0, 0, '=HYPERLINK("http://x")', "wrong", "end", 1, 2, 3)
    row = next(csv.DictReader(io.StringIO(samples_csv([evil]))))
    assert row["text"].startswith("'=")
