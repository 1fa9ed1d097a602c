import csv
import io
import math

from rlkv.job_export import metrics_csv

SERIES = {
    "reward": [(1, 0.1), (2, 0.2 + 0.1), (3, math.nan)],
    "reward_hard": [(2, 1.0)],
    "loss": [(3, -1e-9), (1, math.inf)],
}


def test_a_row_per_step_and_a_column_per_metric_by_name() -> None:
    assert metrics_csv(SERIES).splitlines() == [
        "step,loss,reward,reward_hard",
        "1,inf,0.1,",
        "2,,0.30000000000000004,1.0",
        "3,-1e-09,,",
    ]
    reversed_order = dict(reversed(SERIES.items()))
    assert metrics_csv(reversed_order) == metrics_csv(SERIES)


def test_numbers_come_back_as_they_were() -> None:
    rows = list(csv.DictReader(io.StringIO(metrics_csv(SERIES))))
    assert float(rows[1]["reward"]) == SERIES["reward"][1][1]
    assert metrics_csv({}) == "step\n"
