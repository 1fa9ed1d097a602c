"""Every method that can be chosen is measured for real, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlkv.evaluation.methods import METHODS
from rlkv.evaluation.results import results
from rlkv.evaluation.run import evaluate
from tests.rlkv.evaluation.stage import Keeper, small


@pytest.mark.slow
def test_all_methods_at_once(tmp_path: Path) -> None:
    config = small(methods=list(METHODS), problems=6, probes=4, duo_steps=2, rows_at_once=6)
    keeper = Keeper()
    assert evaluate(config, tmp_path, keeper)
    found = results(keeper.cells, keeper.samples.values(), problems=6)
    assert found.complete
    assert {one.method for one in found.series} == set(METHODS)
    assert sorted(p.name for p in tmp_path.glob("ranking-*.npy")) == [
        "ranking-duo.npy", "ranking-far.npy", "ranking-reward_gradient.npy",
    ]  # fmt: skip
    by_method = {one.method: one.points[0] for one in found.series}
    assert by_method["learned"].accuracy == 1.0
    full = found.full
    assert full is not None
    for point in by_method.values():
        assert point.kv_bytes / point.length < full.kv_bytes / full.length
