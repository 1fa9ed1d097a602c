"""Checkpoints of a Hugging Face Job are kept, against a stand-in that really runs it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.remote import keeping
from rlkv.training.config import make_config
from rlkv.training.run import train
from rlkv.worker import create
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from tests.processes.stage import wait_for
from tests.rlkv.jobs_stand_in import Cloud, cloud
from tests.rlkv.short_training import Log
from tests.rlkv.test_remote import REMOTE, worker

QUICK = """
import os, time
from rlkv.remote import inside, keeping

plain = inside.LineObserver.step

def step(self, number, *told):
    plain(self, number, *told)
    while number == {held}:
        time.sleep(1)

inside.LineObserver.step = step
keeping.EVERY_S, keeping.LOOK_S = 0.0, 0.05
raise SystemExit(inside.main())
"""
KEEP_AT_ONCE = """
import os

def execv(python, words):
    os.execve(python, [python, "-u", "-c", {code!r}], os.environ)

os.execv = execv
"""
"""Stands in front of a job's command: it keeps each checkpoint, and not one in five minutes."""


def keeps_at_once(*, held: int = 0) -> str:
    """With `held`, the job goes no further than that step, and can only be stopped."""
    return KEEP_AT_ONCE.format(code=QUICK.format(held=held))


def test_what_the_hub_does_not_take_is_told_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests are offline, so every copy fails here."""
    monkeypatch.setattr(keeping, "EVERY_S", 0.0)
    monkeypatch.setattr(keeping, "LOOK_S", 0.01)
    tries, events = [], list[str]()
    plain = keeping.Keeper._copy

    def counted(self: keeping.Keeper) -> None:
        tries.append(self)
        plain(self)

    monkeypatch.setattr(keeping.Keeper, "_copy", counted)
    with keeping.Keeper("user/rlkv-jobs#row", tmp_path, events.append):
        (tmp_path / "pool.json").write_text("[]")
        wait_for(lambda: len(tries) > 2)
    assert events == ["The checkpoint could not be kept on the Hub (OfflineModeIsEnabled)"]


def test_a_job_does_not_begin_anew_because_the_hub_is_away(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not be fetched .* press Resume"):
        keeping.fetch("user/rlkv-jobs#row", tmp_path)


def test_what_is_kept_is_whole_though_the_trainer_removes_it_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, to = tmp_path / "job", tmp_path / "to"
    to.mkdir()
    for step in (1, 2):
        made(folder, step)
    plain = shutil.copytree

    def slow(source: Path, target: Path) -> None:
        if source.name == "checkpoint-2":
            made(folder, 3)
            (source / "complete").unlink()
            shutil.rmtree(source)
        plain(source, target)

    monkeypatch.setattr(shutil, "copytree", slow)
    keeping.take(folder, to)
    assert {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()} == {
        "pool.json", "rows.json", "checkpoint-3/gates", "checkpoint-3/complete",
    }  # fmt: skip
    assert keeping.state(to) == (True, 3, 0)


def made(folder: Path, step: int) -> None:
    """A checkpoint in a job's folder."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (folder / "pool.json").write_text("[]")
    (folder / "rows.json").write_text("{}")
    (path / "gates").write_text("1")
    (path / "complete").touch()


@pytest.mark.slow
def test_a_stopped_job_goes_on_from_the_checkpoint_that_it_kept(tmp_path: Path) -> None:
    db = open_database()
    try:
        with cloud(tmp_path / "cloud") as far:
            stopped_and_resumed(db, far, tmp_path)
    finally:
        db.close()


def stopped_and_resumed(db: Database, far: Cloud, tmp_path: Path) -> None:
    settings = {**REMOTE, "steps": 16, "save_every": 2}
    job = create(make_config(settings), db)
    far.before = keeps_at_once(held=8)
    process = worker(job, far, tmp_path / "home")
    try:
        wait_for(lambda: kept(far, job) > 0 or Jobs(db).get(job.id).is_terminal, 180)
        Jobs(db).request_stop(job.id)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert Jobs(db).get(job.id).state == "cancelled"
    step = kept(far, job)
    names = {name.split("/")[2] for name in far.repos["user/rlkv-jobs"] if job.id in name}
    assert names == {"pool.json", "rows.json", f"checkpoint-{step}"}  # no older ones

    far.before = keeps_at_once()
    Jobs(db).resume(job.id)
    assert worker(job, far, tmp_path / "home").wait() == 0
    ended = Jobs(db).get(job.id)
    assert (ended.state, ended.step, len(far.jobs)) == ("done", 16, 2), ended.message
    metrics = Metrics(db)
    assert [at for at, _ in metrics.series(job.id)["reward"]] == list(range(1, 17))
    texts = [event.text for event in metrics.events(job.id)]
    assert f"Resuming after step {step}" in texts
    assert sum(text.startswith("Sampling") for text in texts) == 1
    here = train(
        make_config({**settings, "where": "here"}),
        tmp_path / "here",
        Log(),
    )
    masks = [HeadMask.from_record(row.to_record()) for row in Masks(db).list(job_id=job.id)]
    assert any(np.array_equal(mask.scores, here.scores) for mask in masks)
    assert not any(job.id in name for name in far.repos["user/rlkv-jobs"])  # of no more use


def kept(far: Cloud, job: Job) -> int:
    """The step of the checkpoint that is kept for a job, 0 if there is none."""
    names = far.repos.get("user/rlkv-jobs", {})
    steps = re.findall(rf"checkpoints/{job.id}/checkpoint-(\d+)/complete", " ".join(names))
    return int(steps[0]) if steps else 0
