"""Many processes at one database: every job is claimed once, and nobody meets a lock."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import open_database
from storage.jobs import Jobs
from storage.launching import ROOT

CLAIMER = """
import sys
from pathlib import Path
from storage.database import open_database
from storage.jobs import Jobs
from storage.metrics import Metrics
from storage.queue import Queue

db = open_database(Path(sys.argv[1]))
queue, jobs, metrics = Queue(db), Jobs(db), Metrics(db)
while job := queue.claim(sys.argv[2]):
    jobs.start(job.id)
    metrics.log(job.id, 1, {"reward": 1.0})
    jobs.heartbeat(job.id, step=1)
    jobs.finish(job.id, "done")
    print(job.id)
db.close()
"""


def test_four_processes_claim_sixty_jobs_once_each(tmp_path: Path) -> None:
    commands = [[sys.executable, "-c", CLAIMER, str(tmp_path), f"w{n}"] for n in range(4)]
    db = open_database(tmp_path)
    created = [Jobs(db).create("train", {}).id for _ in range(60)]

    running = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    outputs = [process.communicate() for process in running]

    assert [error for _, error in outputs if error] == []
    assert sorted(line for output, _ in outputs for line in output.split()) == sorted(created)
    assert {job.state for job in Jobs(db).list(limit=100)} == {"done"}
    assert db.check() == []
    db.close()


@pytest.mark.slow
def test_processes_that_make_the_database_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIMER, str(tmp_path), "w"]

    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(4)]

    assert [process.communicate()[1] for process in running] == [b""] * 4
