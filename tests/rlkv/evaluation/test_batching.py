"""Batches are what makes an evaluation affordable."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rlkv.evaluation.run import evaluate
from tests.rlkv.evaluation.stage import Keeper, small

pytestmark = [pytest.mark.slow, pytest.mark.clock]


def test_batches_are_three_times_faster_than_one_at_a_time(tmp_path: Path) -> None:
    """Both ways in turns in one process, so that whatever else runs hits them alike."""

    def seconds(rows: int) -> float:
        keeper = Keeper()
        config = small(methods=["learned"], problems=24, rows_at_once=rows)
        begun = time.perf_counter()
        assert evaluate(config, tmp_path, keeper)
        assert len(keeper.asked) == 48
        return time.perf_counter() - begun

    seconds(24)  # warms up
    ratios = [seconds(1) / seconds(24) for _ in range(2)]
    print("batched is faster by", [f"{ratio:.1f}" for ratio in ratios])
    assert min(ratios) >= 3
