"""The evaluation that ships with the app."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rlkv.errors import UserError
from rlkv.evaluation.answers import read_answers
from rlkv.evaluation.cells import FULL
from rlkv.evaluation.config import make_eval_config
from rlkv.evaluation.export import read_record
from ui.evaluation.recorded import KEY, recorded, recorded_answers
from ui.studio import EXAMPLES


def test_it_opens_with_all_its_points() -> None:
    found = recorded()
    assert found is not None
    assert found.best is not None
    assert found.results.samples == 29_200
    random, top = (one for one in found.results.series if one.method == "random")
    assert {len(point.cells) for point in (*random.points, *top.points)} == {5}
    assert (random.top, top.top) == (False, True)


def test_its_answers_are_those_that_its_points_count() -> None:
    found, told = recorded(), recorded_answers()
    assert found is not None
    assert (len(told.problems(KEY)), len(told.all(KEY))) == (200, found.results.samples)
    assert told.cells(KEY)[0].key == FULL
    for series in found.results.series:
        for point in series.points:
            marks = told.marks(KEY, point.cells)
            assert len(marks) == point.samples
            right = sum(mark.verdict == "right" for mark in marks)
            assert right / len(marks) == pytest.approx(point.accuracy)
            mean = sum(mark.kv_bytes for mark in marks) / len(marks)
            assert mean == pytest.approx(point.kv_bytes)


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"{}"), gzip.compress(b"[1]")],
    ids=["empty", "no gzip", "no schema", "no object"],
)
def test_a_damaged_file_of_answers_is_refused_with_a_reason(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "answers.json.gz"
    path.write_bytes(data)
    with pytest.raises(UserError, match="holds no answers"):
        read_answers(path)


def test_a_record_made_before_masks_were_stored_with_their_heads_still_opens(
    tmp_path: Path,
) -> None:
    old = json.loads((EXAMPLES / "evaluation.json").read_text())
    del old["settings"]["masks"][0]["kept"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    found, settings, _ = read_record(path)
    assert make_eval_config(settings).masks[0].kept == ""
    assert found.samples == 29_200
