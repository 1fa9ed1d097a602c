"""A worker that counts steps: `python -m tests.processes.small_worker JOB`. Behaves as told.

Every process that takes the job adds a line to ``runs.txt`` in the job's folder, so that a test
can count them. The checkpoint is a file with the last step.
"""

import signal
import sys
import time
from pathlib import Path

from storage import disk
from storage.database import open_database
from storage.jobs import Job, Jobs
from storage.metrics import Metrics


def main() -> int:
    db = open_database()
    jobs = Jobs(db)
    job = jobs.start(sys.argv[1])
    folder = jobs.folder(job.id)
    with (folder / "runs.txt").open("a") as runs:
        runs.write(f"{job.pid}\n")
    print("the worker is at work", flush=True)
    behave(job.params.get("behaviour", ""))
    if job.params.get("behaviour") != "wordless":
        count(job, jobs, Metrics(db), folder / "checkpoint.txt")
    db.close()
    return 0


def behave(behaviour: str) -> None:
    """What may be wrong with a worker."""
    if behaviour == "raises":
        raise RuntimeError("the gates are on fire")
    if behaviour == "disk full":
        sys.exit(disk.EXIT_CODE)
    if behaviour == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def count(job: Job, jobs: Jobs, metrics: Metrics, checkpoint: Path) -> None:
    first = int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1
    metrics.truncate_after(job.id, first - 1)
    for step in range(first, job.total_steps + 1):
        time.sleep(job.params.get("pause", 0.02))
        metrics.log(job.id, step, {"reward": step / job.total_steps})
        save(checkpoint, step)
        stop = jobs.heartbeat(job.id, step=step)
        if stop and job.params.get("behaviour") != "deaf":
            jobs.finish(job.id, "cancelled", f"Stopped at step {step}.")
            return
    jobs.finish(job.id, "done", "Counted.")


def save(checkpoint: Path, step: int) -> None:
    """Whole or not at all: a kill may come between any two instructions."""
    draft = checkpoint.with_suffix(".draft")
    draft.write_text(str(step))
    draft.replace(checkpoint)


if __name__ == "__main__":
    sys.exit(main())
