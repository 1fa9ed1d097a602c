"""The list of problems: every drawn answer counts, not the first alone."""

from __future__ import annotations

import re

import pytest

from storage.samples import Mark, ProblemRow
from ui.evaluation.answers import Verdicts, compared, listed

PROBLEMS = [ProblemRow(place, f"problem <{place}>", "1") for place in range(3)]


def found(**sides: list[str]) -> Verdicts:
    """Of each side a text for each problem: its draws, r for right and w for wrong."""
    names = {"r": "right", "w": "wrong"}
    return {
        (side, problem, draw): names[letter]
        for side, texts in sides.items()
        for problem, text in enumerate(texts)
        for draw, letter in enumerate(text)
    }


DRAWN = found(a=["rr", "rr", "ww"], b=["rr", "rw", "wr"])


def places(shown: str) -> list[int]:
    return [int(place) for place in re.findall(r'data-problem="(\d+)"', shown)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("all", [0, 1, 2]), ("lost", [1]), ("won", [2]), ("both", [0, 1]), ("none", [2])],
)
def test_a_filter_looks_at_every_draw(wanted: str, expected: list[int]) -> None:
    shown = listed(PROBLEMS, DRAWN, "a", "b", wanted, None)
    assert places(shown) == expected
    assert ("in any of 2 drawn answers" in shown) == (wanted != "all")


def test_every_draw_has_its_dot() -> None:
    shown = listed(PROBLEMS, DRAWN, "a", "b", "lost", 1)
    dots = re.findall(r'class="dot v-(\w+)" title="([^"]*)"', shown)
    assert dots == [
        ("right", "A, drawn answer 1: right"),
        ("right", "A, drawn answer 2: right"),
        ("right", "B, drawn answer 1: right"),
        ("wrong", "B, drawn answer 2: finished and wrong"),
    ]
    assert "&lt;1&gt;" in shown


def test_many_draws_are_counted() -> None:
    many = found(a=["r" * 9] * 3, b=["r" * 4 + "w" * 5] * 3)
    shown = listed(PROBLEMS, many, "a", "b", "all", None)
    assert "A 9/9" in shown
    assert "B 4/9" in shown


def test_single_answers_are_told_as_before() -> None:
    """A missing answer is in no filter but All."""
    single = found(a=["r", "r", "r"], b=["w", "r"])
    shown = listed(PROBLEMS, single, "a", "b", "all", None)
    assert "B: not asked yet" in shown
    assert "drawn" not in shown
    assert places(listed(PROBLEMS, single, "a", "b", "lost", None)) == [0]


def test_two_cells_are_compared_over_what_both_were_asked() -> None:
    marks = [Mark("a", p, 0, "right", "end", 1, 1, 1) for p in range(4)]
    marks += [Mark("b", p, 0, "wrong", "end", 1, 1, 1) for p in range(3)]
    said = compared(marks, "a", "b")
    assert "B less A: \N{MINUS SIGN}100.0 points" in said
    assert "over 3 problems" in said
    assert compared(marks, "a", "a") == compared(marks, "a", "c") == ""
