"""What the stories claim is true of the embedded model and its mask: measured again here."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkv.explore.looking import far_share
from rlkv.explore.one_head import one_head
from ui.components.tokens import unpack_rows
from ui.stories.page import stories

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDER = EXAMPLES / "stories"
SCRIPT = runpy.run_path(str(EXAMPLES / "record_stories.py"))
CUTS, STORIES, Stage = SCRIPT["CUTS"], SCRIPT["STORIES"], SCRIPT["Stage"]
compared = SCRIPT["compared"]


@pytest.fixture(scope="module")
def stage() -> Any:
    return Stage.load()


@pytest.fixture(scope="module")
def records() -> dict[str, Any]:
    return {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in STORIES}


def test_the_records_are_of_the_shipped_mask_and_small(stage: Any, records: dict[str, Any]) -> None:
    for name, record in records.items():
        assert record["kept"] == stage.mask.kept.astype(int).tolist()
        assert record["window"] == {"sink": stage.mask.sink, "recent": stage.mask.recent}
        assert (FOLDER / f"{name}.json").stat().st_size < 300_000


def test_the_head_that_forgets_looks_where_the_story_says(
    stage: Any, records: dict[str, Any]
) -> None:
    record = records["forgets"]
    problem = stage.problems[record["index"]]
    assert problem.prompt == record["prompt"]
    ids, begin = stage.text(problem)
    cell = (record["head"][0], record["head"][1])
    found = one_head(stage.model, stage.tokenizer, ids, cell, stage.window, begin)
    assert list(found.pieces) == record["pieces"]
    row = found.weights.mean(0)[record["query"]]
    recorded = unpack_rows(record["attention"], len(ids))[record["query"]]
    assert np.abs(row - recorded).max() < 0.005
    assert far_share(row, record["query"], stage.window) == pytest.approx(
        record["far"][cell[0]][cell[1]], abs=1e-3
    )
    # It is about the name that was asked for, and that name is out of a compressed head's sight.
    assert record["pieces"][record["asked"] - 1].strip() == "?"
    assert record["query"] - record["asked"] >= stage.window.recent
    right = [side["right"] for side in record["race"]["sides"]]
    assert right == [True, False]


def test_the_head_that_must_stay_spoils_what_the_story_says(
    stage: Any, records: dict[str, Any]
) -> None:
    record = records["stays"]
    head, calm = tuple(record["head"]), tuple(record["calm_head"])
    for cell in (head, calm):
        verdicts = stage.verdicts(stage.full.toggle(*cell), stage.problems)
        assert sum(verdicts) == record["right_alone"][cell[0]][cell[1]]
    assert stage.mask.kept[head]
    assert not stage.mask.kept[calm]
    assert min(map(min, record["right_alone"])) == record["right_alone"][head[0]][head[1]]
    again = compared(stage.compare(stage.problems[record["index"]], stage.full.toggle(*head)))
    for name in ("before", "after", "first_change"):
        assert again[name] == record[name]
    assert np.allclose(again["kl"], record["kl"], atol=2e-3)
    assert record["before"]["right"]
    assert not record["after"]["right"]


@pytest.mark.slow
def test_half_costs_what_the_story_says(stage: Any, records: dict[str, Any]) -> None:
    record = records["half"]
    found = record["accuracy"]
    many = stage.task.problems(found["n"], seed=found["seed"], split="test")
    for cut in (0.5, record["breaks"]):
        share = sum(stage.verdicts(stage.mask.at_sparsity(cut), many)) / len(many)
        assert share == pytest.approx(found["learned"][CUTS.index(cut)], abs=0.015)
    again = compared(
        stage.compare(stage.problems[record["index"]], stage.mask.at_sparsity(record["breaks"]))
    )
    assert again["first_change"] == record["first_change"]
    assert again["after"] == record["after"]


def test_all_three_are_told_and_their_numbers_come_from_the_records(
    records: dict[str, Any],
) -> None:
    told = {story.key: story for story in stories()}
    assert list(told) == list(STORIES)
    assert all(4 <= len(story.steps) <= 5 for story in told.values())

    def words(key: str) -> str:
        text = " ".join(p for step in told[key].steps for p in step.words)
        text = re.sub(r'<span id="term-.*?</span>', "", text)
        return re.sub(r"<[^>]+>", "", text).replace("&nbsp;", " ")

    record = records["forgets"]
    assert f"{record['query'] - record['asked']} tokens ago" in words("forgets")
    record = records["stays"]
    spoiled = record["right_full"] - record["right_alone"][record["head"][0]][record["head"][1]]
    assert f"head {record['head'][0]}.{record['head'][1]} alone spoils {spoiled}" in words("stays")
    found = records["half"]["accuracy"]
    at = found["cuts"].index(0.5)
    assert f"answers {100 * found['learned'][at]:.0f} % right" in words("half")
