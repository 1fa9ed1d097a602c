"""The real worker, killed in the middle of a training: it goes on as if nothing had been."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from rlkv.worker import create
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.masks import MaskRow, Masks
from storage.metrics import Metrics
from storage.supervisor import ensure_running
from tests.processes import killing
from tests.processes.stage import wait_for

QUICK = ["--poll=0.1", "--idle=1"]
SEEDS = int(os.environ.get("RLKV_KILL_SEEDS", "2"))
NOTICED_S = 5.0
"""The time that a killed worker may stay unnoticed beyond its lease; here it is the whole time."""


def killed_and_resumed(seed: int, kills: int, steps: int = 12) -> None:
    """One training, killed so often at random steps, against the same one left alone."""
    db = open_database()
    try:
        config = killing.settings(seed=seed, steps=steps)
        reference = killing.unbroken(db, config)
        job = create(config, db)
        ensure_running(db.folder, options=QUICK)
        chance = random.Random(seed)
        at = []
        for attempt in range(kills):
            first = Jobs(db).get(job.id).step + 1 if attempt else 1
            at.append(killing.kill_at_random(db, job.id, chance, range(first, first + 4)))
            wait_for(lambda: len(interruptions(db, job)) == len(at), NOTICED_S)
        ended = killing.until_ended(db, job.id)
        killing.require_same(db, ended, reference)
        assert ended.attempt == kills + 1
        for killed, noticed in zip(at, interruptions(db, job), strict=True):
            assert noticed - killed < NOTICED_S
    finally:
        db.close()


def interruptions(db: Database, job: Job) -> list[float]:
    """When the job was taken back from a lost worker, in seconds since 1970."""
    events = Metrics(db).events(job.id)
    return [event.at for event in events if event.text.startswith("The worker ")]


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_gates() -> None:
    killed_and_resumed(seed=100, kills=1, steps=6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_in_sampling_and_elimination_end_in_the_same_mask() -> None:
    db = open_database()
    try:
        config = killing.settings(seed=4, steps=2, problems=96, elimination=True)
        job = create(config, db)
        ensure_running(db.folder, options=QUICK)
        places = [("sampling", 64), ("elimination", 2), ("elimination", 6)]
        for phase, done in places:
            killing.kill_in(db, job.id, phase, done)
        ended = killing.until_ended(db, job.id)
        assert len(interruptions(db, job)) == len(places)
        shutil.rmtree(db.folder / "samples")  # the other one is to answer all problems itself
        reference = killing.unbroken(db, config)
        killing.require_same(db, ended, reference)
        mask, expected = (mask_of(db, one) for one in (ended, reference))
        assert (mask.scores, mask.kept) == (expected.scores, expected.kept)
    finally:
        db.close()


def mask_of(db: Database, job: Job) -> MaskRow:
    (mask,) = Masks(db).list(job_id=job.id)
    return mask


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_two_kills_each_at_random_steps(seed: int) -> None:
    """Four kills; twenty with RLKV_KILL_SEEDS=10."""
    killed_and_resumed(seed, kills=2)


@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_written_uses_the_one_before() -> None:
    db = open_database()
    try:
        config = killing.settings(seed=3, save_every=1)
        reference = killing.unbroken(db, config)
        job = create(config, db)
        folder = Jobs(db).folder(job.id)
        ensure_running(db.folder, options=QUICK)
        killing.until_step(db, job.id, 2)
        torn = kill_in_checkpoint(db, job, folder)
        wait_for(lambda: len(interruptions(db, job)) == 1, NOTICED_S)
        ended = killing.until_ended(db, job.id)
        killing.require_same(db, ended, reference)
        step = int(torn.name.rpartition("-")[2])
        assert any(f"Resuming after step {step - 1}" in e.text for e in Metrics(db).events(job.id))
        left = sorted(folder.glob("checkpoint-*"))
        assert len(left) == 2  # whole ones, of the last two steps
        assert all((path / "complete").is_file() for path in left)
    finally:
        db.close()


def kill_in_checkpoint(db: Database, job: Job, folder: Path) -> Path:
    """Waits for a new checkpoint folder, and kills its writer before it is complete."""
    pid = Jobs(db).get(job.id).pid
    assert pid is not None
    known = set(folder.glob("checkpoint-*"))
    while True:
        for path in set(folder.glob("checkpoint-*")) - known:
            os.kill(pid, signal.SIGSTOP)  # holds the moment still
            if (path / "complete").is_file():
                os.kill(pid, signal.SIGCONT)
                known.add(path)
                continue
            os.kill(pid, signal.SIGKILL)
            return path
        assert not Jobs(db).get(job.id).is_terminal
