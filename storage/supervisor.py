"""The process that runs jobs, one per data folder.

A file lock makes it one: the system frees the lock when the process dies, however it dies. It
exits by itself when idle, and never takes a running worker with it.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from filelock import FileLock, Timeout

from storage.database import open_database
from storage.errors import StorageError
from storage.jobs import Jobs
from storage.launching import forget, launch, worker_command
from storage.locations import data_dir, private_folder
from storage.workers import Command, Timing, Workers

LOCK_NAME = "supervisor.lock"
LOG_NAME = "supervisor.log"
LOCK_WAIT_S = 2.0  # longer than a look at the lock by `is_running`, which takes it for a moment

logger = logging.getLogger(__name__)


def ensure_running(folder: Path | None = None, *, options: Sequence[str] = ()) -> None:
    """See to it that a supervisor looks after ``folder`` (default: `data_dir()`).

    Cheap when one lives; otherwise one is started apart from this process, which does not wait
    for it. To be called when the app starts and after every Start, Resume and Stop. ``options``
    are more command line options, for tests.
    """
    folder = private_folder(folder) if folder else data_dir()
    if not is_running(folder):
        command = [sys.executable, "-m", "storage.supervisor", "--data-dir", str(folder), *options]
        forget(launch(command, folder, folder / LOG_NAME))


def is_running(folder: Path) -> bool:
    """Does a supervisor look after this data folder?"""
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def serve(
    folder: Path,
    *,
    command: Command = worker_command,
    timing: Timing | None = None,
    slots: int = 1,
    once: bool = False,
) -> bool:
    """Be the supervisor of ``folder`` until idle. False: another one is, nothing was done."""
    db = open_database(folder)
    lock = FileLock(folder / LOCK_NAME)
    try:
        while True:
            try:
                lock.acquire(timeout=LOCK_WAIT_S)
            except Timeout:
                return False
            try:
                Workers(db, command=command, timing=timing, slots=slots).run(once=once)
            finally:
                lock.release()
            # Who made a job while the lock was held has started no supervisor: look once more.
            if not Jobs(db).active():
                return True
    finally:
        db.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m storage.supervisor`"""
    parser = argparse.ArgumentParser(prog="python -m storage.supervisor", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="data folder (default: that of the app)")
    parser.add_argument("--once", action="store_true", help="exit as soon as there is no job")
    parser.add_argument("--slots", type=int, default=1, help="jobs run at once (default: 1)")
    parser.add_argument("--worker", help="command that runs the job named {job}")
    for field in fields(Timing):
        parser.add_argument(f"--{field.name}", type=float, default=field.default, metavar="S")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    template = shlex.split(chosen.worker) if chosen.worker else None

    def command(job_id: str) -> list[str]:
        if template is None:
            return worker_command(job_id)
        return [part.replace("{job}", job_id) for part in template]

    timing = Timing(**{field.name: getattr(chosen, field.name) for field in fields(Timing)})
    try:
        folder = private_folder(chosen.data_dir) if chosen.data_dir else data_dir()
        if not serve(folder, command=command, timing=timing, slots=chosen.slots, once=chosen.once):
            logger.info("Another supervisor looks after %s.", folder)
    except StorageError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logger.info("Stopped; running workers go on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
