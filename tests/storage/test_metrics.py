import math
import struct
import time

import pytest

from storage.database import Database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.metrics import Metrics


@pytest.fixture
def metrics(db: Database) -> Metrics:
    return Metrics(db)


def test_curves_come_back_by_name_in_order(metrics: Metrics, job: Job) -> None:
    metrics.log(job.id, 2, {"reward": 0.5, "loss": 1.0})
    metrics.log_many(job.id, [(1, {"reward": 0.25}), (3, {"reward": 0.75})])

    assert metrics.series(job.id) == {
        "loss": [(2, 1.0)],
        "reward": [(1, 0.25), (2, 0.5), (3, 0.75)],
    }
    assert metrics.series(job.id, names=["reward"], since_step=2) == {"reward": [(3, 0.75)]}
    assert metrics.latest(job.id) == {"loss": 1.0, "reward": 0.75}


def test_a_replayed_step_replaces_what_was_said(metrics: Metrics, job: Job) -> None:
    metrics.log(job.id, 1, {"reward": 0.25})
    metrics.log(job.id, 1, {"reward": 0.5})

    assert metrics.series(job.id) == {"reward": [(1, 0.5)]}


def test_numbers_that_are_no_numbers_survive(metrics: Metrics, job: Job) -> None:
    metrics.log(job.id, 1, {"loss": math.nan, "penalty": math.inf, "count": 3})

    latest = metrics.latest(job.id)
    assert math.isnan(latest["loss"])
    assert (latest["penalty"], latest["count"]) == (math.inf, 3.0)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 99, 1000])
def test_long_curves_are_thinned_and_keep_their_ends(
    metrics: Metrics, job: Job, count: int
) -> None:
    metrics.log_many(job.id, [(step, {"a": step, "b": 0}) for step in range(count)])
    metrics.log(job.id, 5, {"short": 1})

    curves = metrics.series(job.id, max_points=10)

    assert len(curves["a"]) <= 10
    assert len(curves["a"]) == count or count > 10
    assert curves["a"][0] == (0, 0.0)
    assert curves["a"][-1] == (count - 1, count - 1)
    assert curves["short"] == [(5, 1.0)]


def test_a_curve_needs_two_points(metrics: Metrics, job: Job) -> None:
    with pytest.raises(StorageError, match="at least 2"):
        metrics.series(job.id, max_points=1)


def test_gates_are_kept_per_step(metrics: Metrics, job: Job) -> None:
    first, second = struct.pack("<6f", *range(6)), struct.pack("<6f", *[0.5] * 6)
    assert metrics.latest_snapshot(job.id) is None
    assert metrics.snapshot_shape(job.id) is None

    metrics.add_snapshot(job.id, 2, second, 2, 3)
    metrics.add_snapshot(job.id, 1, second, 2, 3)
    metrics.add_snapshot(job.id, 1, first, 2, 3)

    assert metrics.snapshots(job.id) == [(1, first), (2, second)]
    assert metrics.snapshots(job.id, since_step=1) == [(2, second)]
    assert metrics.latest_snapshot(job.id) == (2, second)
    assert metrics.snapshot_shape(job.id) == (2, 3)


def test_gates_of_another_shape_are_refused(metrics: Metrics, job: Job) -> None:
    with pytest.raises(StorageError, match="2 x 3 gates"):
        metrics.add_snapshot(job.id, 1, bytes(20), 2, 3)


def test_a_resumed_worker_forgets_what_came_after_its_checkpoint(
    metrics: Metrics, jobs: Jobs, job: Job
) -> None:
    other = jobs.create("train", {})
    for step in (1, 2, 3):
        for one in (job, other):
            metrics.log(one.id, step, {"reward": step})
            metrics.add_snapshot(one.id, step, bytes(4), 1, 1)

    metrics.truncate_after(job.id, 2)

    assert metrics.latest(job.id) == {"reward": 2.0}
    assert [step for step, _ in metrics.snapshots(job.id)] == [1, 2]
    assert metrics.latest(other.id) == {"reward": 3.0}
    assert [step for step, _ in metrics.snapshots(other.id)] == [1, 2, 3]


def test_events_are_the_newest_in_order(metrics: Metrics, job: Job) -> None:
    for number in range(4):
        metrics.add_event(job.id, "info", f"event {number}")

    assert [event.text for event in metrics.events(job.id, limit=2)] == ["event 2", "event 3"]
    second = metrics.events(job.id)[1]
    assert [event.text for event in metrics.events(job.id, since_id=second.id)] == [
        "event 2",
        "event 3",
    ]
    assert abs(second.at - time.time()) < 60


def test_the_version_tells_whether_to_look_again(metrics: Metrics, jobs: Jobs, job: Job) -> None:
    seen = [metrics.version(job.id)]
    jobs.start(job.id)
    seen.append(metrics.version(job.id))
    jobs.heartbeat(job.id, step=1)
    seen.append(metrics.version(job.id))
    metrics.log(job.id, 1, {"reward": 1})
    seen.append(metrics.version(job.id))
    metrics.add_snapshot(job.id, 1, bytes(4), 1, 1)
    seen.append(metrics.version(job.id))
    metrics.add_event(job.id, "info", "Hardening begins.")
    seen.append(metrics.version(job.id))
    jobs.request_stop(job.id)
    seen.append(metrics.version(job.id))

    assert seen == sorted(set(seen))
    jobs.heartbeat(job.id, step=1)  # nothing new to see
    assert metrics.version(job.id) == seen[-1]
    assert metrics.version("nobody") == 0


def test_numbers_of_no_job_are_refused(metrics: Metrics) -> None:
    with pytest.raises(StorageError, match="no job nobody"):
        metrics.log("nobody", 1, {"reward": 1})
    with pytest.raises(StorageError, match="no job nobody"):
        metrics.add_event("nobody", "info", "hello")
