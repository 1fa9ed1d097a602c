"""Runs: what a page is told, however often it asks; who waits for whom; blind sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlkv.masks import HeadMask
from tests.ui.chat.stage import finished, plan, said
from ui.chat import sides
from ui.chat.blind import concealed, visible_lengths
from ui.chat.columns import NAMES
from ui.chat.fields import _change
from ui.chat.running import FORGET_SECONDS, Run, Runs
from ui.models.facts import facts_of
from ui.studio import Settings, Studio


@pytest.fixture(scope="module")
def run() -> Run:
    return finished()


def test_what_is_pulled_in_parts_is_the_whole(run: Run) -> None:
    whole = run.since([0, 0])
    total = [len(side["cols"]["t"]) for side in whole]
    parts = [run.since([7, 3]), run.since([total[0], total[1] - 1])]
    for part, have in zip(parts, ([7, 3], [total[0], total[1] - 1]), strict=True):
        for side, all_of_it, n in zip(part, whole, have, strict=True):
            assert side["from"] == n
            assert side["cols"] == {name: all_of_it["cols"][name][n:] for name in NAMES}
    assert run.frame is not None
    for side, state in zip(whole, run.frame.sides, strict=True):
        assert side["opening"] + "".join(side["cols"]["t"]) == state.text
        assert side["cols"]["b"][-1] == state.kv_bytes


def test_a_pull_of_what_is_new_is_small(run: Run) -> None:
    total = [len(side["cols"]["t"]) for side in run.since([0, 0])]
    new = run.since([total[0] - 3, total[1] - 3])
    assert len(json.dumps(new)) < 3000


@pytest.mark.parametrize(
    "asked", [None, 7, {}, {"run": "?"}, {"run": None, "have": "x"}, {"have": [1, 2]}]
)
def test_a_page_that_asks_nonsense_learns_nothing(asked: Any) -> None:
    assert Runs().pull(asked) == {"state": "gone", "sides": []}


def test_counts_that_make_no_sense_are_taken_for_none() -> None:
    runs = Runs()
    run = runs.begin("tab", said(None), plan())
    assert run is not None
    for have in ([-5], [True], ["x"], [1, 2, 3], None):
        assert runs.pull({"run": run.token, "have": have})["state"] == "waiting"


def test_one_run_a_tab_and_a_place_in_line() -> None:
    runs, facts = Runs(), said(None)
    first = runs.begin("one", facts, plan())
    assert first is not None
    assert runs.begin("one", facts, plan()) is None
    second = runs.begin("two", facts, plan())
    assert second is not None
    assert (runs.place(first), runs.place(second)) == (0, 1)
    runs.stop("two")  # while it waits: it is over at once
    assert second.state == "done"
    first.finish()
    third = runs.begin("one", facts, plan())
    assert third is not None
    assert runs.place(third) == 0
    assert runs.of("one") is third


def test_the_end_is_not_told_before_the_last_token(run: Run) -> None:
    runs = Runs()
    runs._runs[run.token] = run
    told = runs.pull({"run": run.token, "have": [0, 0]})
    assert told["state"] == "done"
    assert [len(s["cols"]["t"]) for s in told["sides"]] == [
        s["now"]["tokens"] for s in told["sides"]
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_blind_sides_differ_in_their_texts_alone(order: tuple[int, int]) -> None:
    run = finished(order)
    a, b = run.since([0, 0])
    plain = [run.side(i) for i in (0, 1)]
    assert [s["cols"] for s in (a, b)] == [{"t": plain[i]["cols"]["t"]} for i in order]
    assert set(b) - set(a) == {"prefix", "diff"}  # beside B, whichever it is
    assert b["diff"]["p"] is None
    bare = [
        {k: v for k, v in s.items() if k not in ("cols", "now", "prefix", "diff")} for s in (a, b)
    ]
    assert bare[0] == {**bare[1], "slot": 0, "role": "a", "name": "A"}
    assert "mask" not in json.dumps([a, b])


def test_blind_sides_are_shown_no_token_ahead_of_each_other() -> None:
    assert visible_lengths([5, 4], [False, False]) == [4, 4]
    assert visible_lengths([3, 9], [True, False]) == [3, 9]
    assert visible_lengths([3, 9], [True, True]) == [3, 9]
    assert visible_lengths([1, 0], [False, False]) == [0, 0]


def test_a_memory_stop_is_no_hint_in_a_blind_comparison() -> None:
    both = [{"now": {"stop": "memory"}}, {"now": {"stop": "end"}}]
    assert [s["now"]["stop"] for s in concealed(both, (0, 1))] == ["stopped", "end"]


def test_changes_of_one_slider_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs()
    run = runs.begin("tab", said(None), plan())
    assert run is not None
    now = [100.0]
    monkeypatch.setattr("ui.chat.running.time.monotonic", lambda: now[0])
    for hint in ("first", "second"):
        run.ask_change(0, None, {"hint": hint})
    run.make_changes()
    assert run.control.take_changes() == {}
    now[0] += 1
    run.make_changes()
    assert run.control.take_changes() == {0: None}
    assert run.sides[0]["hint"] == "second"


def test_a_side_changed_in_an_answer_is_called_what_it_is_now(tmp_path: Path) -> None:
    studio = Studio.open(Settings(data_dir=tmp_path))
    facts_of("tracer", 60)
    full, shipped = [sides.FULL, 0.5, 16, 64], ["shipped", 0.5, 4, 16]
    rest = [False, 0, 1, 0, 120, "", True, False]

    def named(before: list[Any], *now: list[Any]) -> str:
        run = Run("tab", said(*before), plan())
        _change(studio, run, 1, ["tracer", "both", *now[0], *now[1], *full, *rest])
        run._asked[1] = (*run._asked[1][:2], 0.0)
        run.make_changes()
        return str(run.sides[1]["name"])

    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, name="old")
    assert named([mask, None], full, shipped).endswith(", 50 %")
    assert named([mask, mask], full, shipped).endswith(", 50 %")
    assert "old" not in named([mask, mask], full, shipped)
    assert named([None, mask], full, full) == "Full"
    assert named([None, mask], full, shipped) == "Compressed"
    studio.db.close()


def test_a_side_that_has_ended_keeps_the_name_it_wrote_under() -> None:
    run = finished()
    before = dict(run.sides[1])
    run.ask_change(1, None, {"hint": "another mask", "mask": None})
    run._asked[1] = (*run._asked[1][:2], 0.0)
    run.make_changes()
    assert run.sides[1] == before


def test_a_run_whose_page_never_asks_for_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    line: dict[str, int] = {"waits": 3}
    runs, facts = Runs(line.get), said(None)
    now = [100.0]
    monkeypatch.setattr("ui.chat.running.time.monotonic", lambda: now[0])
    lost, waits = runs.begin("lost", facts, plan()), runs.begin("waits", facts, plan())
    assert lost is not None
    assert waits is not None
    for run in (lost, waits):
        run.in_line_at = now[0]
    now[0] += FORGET_SECONDS + 1
    assert runs.begin("waits", facts, plan()) is None
    assert runs.of("waits") is waits
    assert runs.get(lost.token) is None
    assert runs.begin("lost", facts, plan()) is not None
