"""The evaluation that ships with the app."""

from __future__ import annotations

import json
from pathlib import Path

from rlkv.evaluation.config import make_eval_config
from rlkv.evaluation.export import read_record
from ui.evaluation.recorded import recorded
from ui.studio import EXAMPLES


def test_it_opens_with_all_its_points() -> None:
    found = recorded()
    assert found is not None
    assert found.best is not None
    assert found.results.samples == 29_200
    random, top = (one for one in found.results.series if one.method == "random")
    assert {len(point.cells) for point in (*random.points, *top.points)} == {5}
    assert (random.top, top.top) == (False, True)


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
