"""Three workers and eight readers on one database: nobody meets a lock, no number is lost.

`RLKV_SOAK_S=300` makes it five minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import open_database
from storage.jobs import Jobs
from storage.launching import ROOT
from storage.metrics import Metrics

SECONDS = float(os.environ.get("RLKV_SOAK_S", "15"))
WRITERS, READERS = 3, 8

WRITER = """
import json, sys, time
from pathlib import Path
from storage.database import open_database
from storage.jobs import Jobs
from storage.metrics import Metrics

db = open_database(Path(sys.argv[1]))
jobs, metrics = Jobs(db), Metrics(db)
job, end, step = sys.argv[2], time.monotonic() + float(sys.argv[3]), 0
slowest = 0.0
while time.monotonic() < end:
    step += 1
    begun = time.monotonic()
    metrics.log(job, step, {"reward": step, "loss": -step, "gate_mean": step / 2})
    if step % 5 == 0:
        metrics.add_snapshot(job, step, bytes(4 * 4 * 8), 4, 8)
        metrics.add_event(job, "info", f"step {step}")
    jobs.heartbeat(job, step=step)
    slowest = max(slowest, time.monotonic() - begun)
    time.sleep(0.005)
print(json.dumps({"steps": step, "slowest": slowest}))
"""
READER = """
import json, sys, time
from pathlib import Path
from storage.database import open_database
from storage.jobs import Jobs
from storage.metrics import Metrics

db = open_database(Path(sys.argv[1]))
jobs, metrics = Jobs(db), Metrics(db)
ids, end, looks, slowest = sys.argv[3:], time.monotonic() + float(sys.argv[2]), 0, 0.0
seen = dict.fromkeys(ids, 0)
while time.monotonic() < end:
    begun = time.monotonic()
    for job in ids:
        jobs.list(30)
        metrics.version(job)
        # As pages look at it, and now and then at every single number.
        points = 400 if looks % 10 else 10**9
        curves = metrics.series(job, ["reward", "loss"], max_points=points)
        got = curves.get("reward", [])
        assert all(value == step for step, value in got), got[-5:]
        assert points == 400 or [step for step, _ in got] == list(range(1, len(got) + 1))
        newest = got[-1][0] if got else 0
        assert newest >= seen[job]  # what was seen stays
        seen[job] = newest
        metrics.latest_snapshot(job)
        metrics.events(job, limit=60)
    looks += 1
    slowest = max(slowest, time.monotonic() - begun)
    time.sleep(0.2)
print(json.dumps({"looks": looks, "slowest": slowest}))
"""


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 240)
def test_workers_and_readers_at_once(tmp_path: Path) -> None:
    db = open_database(tmp_path)
    made = [Jobs(db).create("train", {}, total_steps=10**6, claimed_by=os.getpid()) for _ in "abc"]
    ids = [job.id for job in made]
    commands = [[WRITER, str(tmp_path), job, str(SECONDS)] for job in ids]
    commands += [[READER, str(tmp_path), str(SECONDS), *ids] for _ in range(READERS)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", *command], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for command in commands
    ]  # fmt: skip
    ended = [process.communicate() for process in running]
    assert [error for _, error in ended if error] == []
    told = [json.loads(output) for output, _ in ended]
    print("writers", told[:WRITERS], "readers", told[WRITERS:])
    metrics = Metrics(db)
    for job, told_by in zip(ids, told, strict=False):
        steps = told_by["steps"]
        curves = metrics.series(job, max_points=10**9)
        assert curves["reward"] == [(n, float(n)) for n in range(1, steps + 1)]
        assert curves["loss"] == [(n, float(-n)) for n in range(1, steps + 1)]
        assert len(metrics.snapshots(job)) == steps // 5
        assert Jobs(db).get(job).step == steps
        assert steps > 5 * SECONDS
    assert all(one["looks"] > 1 for one in told[WRITERS:])
    assert db.check() == []
    db.close()
