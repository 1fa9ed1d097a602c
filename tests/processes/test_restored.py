"""A database restored on another machine: jobs of the old one begin again instead of hanging."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.database import FILE_NAME, open_database
from storage.jobs import Jobs
from storage.processes import ProcessIdentity
from storage.snapshots import Snapshots, restore
from tests.processes.stage import open_stage

ELSEWHERE = ProcessIdentity(pid=7, start_time=1.0, host="another-container", boot_id="another")


@pytest.mark.slow
def test_a_job_that_ran_when_the_machine_went_begins_again(tmp_path: Path) -> None:
    old, new, bucket = (tmp_path / name for name in ("old", "new", "bucket"))
    db = open_database(old)
    jobs = Jobs(db)
    running = jobs.create("train", {}, total_steps=5, claimed_by=None)
    waiting = jobs.create("train", {}, total_steps=5)
    with db.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE jobs SET state='running', pid=?, pid_start_time=?, host=?, boot_id=?,"
            " worker_id='gone', started_at=1, heartbeat_at=1, lease_until=31, step=3, attempt=1"
            " WHERE id=?",
            (ELSEWHERE.pid, ELSEWHERE.start_time, ELSEWHERE.host, ELSEWHERE.boot_id, running.id),
        )
    taker = Snapshots(db.path, bucket)
    assert taker.take()
    taker.close()
    db.close()

    new.mkdir()
    assert restore(new / FILE_NAME, bucket)
    with open_stage(new) as stage:
        stage.supervisor()
        for job in (running, waiting):
            ended = stage.until_ended(job)
            assert (ended.state, ended.step) == ("done", 5), ended
            assert len(stage.runs(job)) == 1  # from the first step on: its folder was gone
        assert stage.db.check() == []
