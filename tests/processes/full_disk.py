"""Fills a small disk of its own under a real training; run by `test_full_disk.py`.

`python -m tests.processes.full_disk FOLDER` in a mount namespace: FOLDER becomes a disk of a few
megabytes that no other process sees. Ends with one JSON object about what was found.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from rlkv.training import checkpoint
from rlkv.worker import create
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.metrics import Metrics
from storage.supervisor import ensure_running
from tests.processes import killing
from tests.processes.stage import supervisors

DISK = "12m"
PORT = 7999


def main(folder: Path) -> dict[str, Any]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=True)
    os.environ["RLKV_DATA_DIR"] = str(folder)
    app = subprocess.Popen([sys.executable, "app.py", "--port", str(PORT)])
    db = open_database(folder)
    try:
        get("train")
        return events(db, folder)
    finally:
        for job in Jobs(db).active():
            Jobs(db).request_stop(job.id)
        app.kill()
        app.wait()
        for supervisor in supervisors(folder):
            supervisor.kill()
        db.close()


def events(db: Database, folder: Path) -> dict[str, Any]:
    job = create(killing.settings(seed=5), db)
    ensure_running(folder)
    killing.until_step(db, job.id, 3)
    fill(folder / "filler")
    failed = killing.until_ended(db, job.id)
    found = {**state(db, failed), "page": get("train"), "checks": db.check()}
    found["resumes_from"] = (checkpoint.latest(Jobs(db).folder(job.id)) or (None, 0))[1]
    found["reserves"] = len(list(folder.glob("jobs/*/reserve")))
    (folder / "filler").unlink()
    Jobs(db).resume(job.id)
    ensure_running(folder)
    done = killing.until_ended(db, job.id)
    found["after"] = state(db, done)
    found["left"] = [(p / "complete").is_file() for p in job_folder(db, job)]
    gates = [g.hex() for _, g in Metrics(db).snapshots(job.id)]
    reference = killing.unbroken(db, killing.settings(seed=5))
    found["same"] = gates == [g.hex() for _, g in Metrics(db).snapshots(reference.id)]
    return found


def state(db: Database, job: Job) -> dict[str, Any]:
    return {"state": job.state, "message": job.message, "step": job.step, "code": job.exit_code}


def job_folder(db: Database, job: Job) -> list[Path]:
    return sorted(Jobs(db).folder(job.id).glob("checkpoint-*"))


def fill(path: Path) -> None:
    """Writes until nothing more goes in, and again where somebody gave something back."""
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def get(page: str, seconds: float = 60) -> int:
    """The status of a page of the app, once it answers."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/{page}", timeout=20) as answer:
                return int(answer.status)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
