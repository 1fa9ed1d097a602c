import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rlkv.errors import UserError
from rlkv.known_models import PAPERS
from rlkv.masks import HeadMask
from rlkv.training.config import make_config
from rlkv.worker import JobObserver, create, process, run_job
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from tests.rlkv.short_training import SMALL


@pytest.fixture
def db() -> Iterator[Database]:
    database = open_database()
    yield database
    database.close()


def held(db: Database, **values: object) -> Job:
    return create(make_config({**SMALL, **values}), db, claimed_by=os.getpid())


def test_a_job_leaves_metrics_snapshots_events_and_a_mask(db: Database) -> None:
    job = held(db)
    metrics = Metrics(db)
    metrics.log(job.id, 40, {"reward": 1.0})  # by an attempt that left no checkpoint behind
    job = run_job(db, job)
    assert (job.state, job.step, job.exit_code) == ("done", 6, 0)
    assert "at 50 % sparsity" in job.message
    series = metrics.series(job.id)
    assert [step for step, _ in series["reward"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in metrics.snapshots(job.id)] == [1, 2, 3, 4, 5, 6]
    assert metrics.snapshot_shape(job.id) == (4, 8)
    assert any(" are solved, " in event.text for event in metrics.events(job.id))
    assert (job.phase, job.phase_total) == ("measuring", 12)
    assert job.versions["torch"] == torch.__version__
    assert job.versions["threads"] == torch.get_num_threads()
    assert {"rlkv", "python", "transformers", "trl", "system", "device"} <= set(job.versions)
    assert not (Jobs(db).folder(job.id) / "reserve").exists()
    (row,) = Masks(db).list(job_id=job.id)
    mask = HeadMask.from_record(row.to_record())
    gates = np.frombuffer(metrics.snapshots(job.id)[-1][1], "<f4").reshape(4, 8)
    assert np.allclose(mask.scores, gates, atol=1e-6)


def test_a_users_mistake_ends_as_its_own_line(db: Database) -> None:
    job = run_job(db, held(db, model="no/such-model"))
    assert (job.state, job.exit_code) == ("failed", 2)
    assert "no/such-model" in job.message
    assert not Masks(db).list(job_id=job.id)


def test_a_job_of_another_version_says_what_to_do(db: Database) -> None:
    job = Jobs(db).create("train", {"steps": 3, "colour": "red"}, claimed_by=os.getpid())
    ended = run_job(db, job)
    assert (ended.state, ended.exit_code) == ("failed", 2)
    assert "another version" in ended.message
    assert "colour" in ended.message
    assert "Press Clone with changes" in ended.message


def test_a_heartbeat_that_fails_once_is_not_the_last(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beats: list[int] = []
    again = threading.Event()

    def heartbeat(self: Jobs, *args: object, **kwargs: object) -> bool:
        beats.append(1)
        if len(beats) == 1:
            raise OSError("disk I/O error")
        again.set()
        return False

    monkeypatch.setattr(Jobs, "heartbeat", heartbeat)
    monkeypatch.setattr("rlkv.worker.watch.BEAT_S", 0.01)
    with JobObserver(db, held(db)):
        assert again.wait(10)
    assert "heartbeat failed" in caplog.text


def test_a_defect_is_named_and_traced(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    job = held(db)
    (Jobs(db).folder(job.id) / "pool.json").write_text("not json")
    job = run_job(db, job)
    assert (job.state, job.exit_code) == ("failed", 1)
    assert "JSONDecodeError" in job.message
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("task", ["deepscaler", "gsm8k", "mbpp"])
def test_what_the_embedded_model_cannot_read_is_refused_before_the_start(
    db: Database, task: str
) -> None:
    with pytest.raises(UserError, match=f"no '{task}' problems.*such as Qwen/Qwen3-4B-Thinking"):
        create(make_config({"task": task}), db)
    assert not Jobs(db).list()
    able = make_config({"model": PAPERS[0], "task": task})
    assert create(able, db).state == "queued"


def test_a_lack_of_memory_says_what_to_change() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    told = process._defect(caught.value)
    assert told.startswith("Out of memory (RuntimeError): use fewer rows at once")


def test_the_stop_flag_keeps_what_was_learned(db: Database) -> None:
    job = held(db, steps=100_000, problems=4, prompts_per_step=1)
    Jobs(db).request_stop(job.id)
    # Told at the first event, before any step.
    ended = run_job(db, job)
    assert (ended.state, ended.message) == ("cancelled", "Stopped before the first step")
    assert not Masks(db).list(job_id=job.id)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_signals_end_the_process_with_a_mask(db: Database, number: signal.Signals) -> None:
    job = create(make_config({**SMALL, "steps": 500, "problems": 8}), db)
    command = [sys.executable, "-m", "rlkv.worker", "--job", job.id]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while Jobs(db).get(job.id).step < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(number)
        _, output = process.communicate(timeout=60)
    ended = Jobs(db).get(job.id)
    assert process.returncode == 0, output
    assert ended.state == "cancelled"
    (row,) = Masks(db).list(job_id=job.id)
    assert row.info["steps_done"] == ended.step
    assert f"({ended.step} of 500 steps)" in row.name
    assert b"Warning" not in output


def test_an_unknown_job_is_one_line() -> None:
    command = [sys.executable, "-m", "rlkv.worker", "--job", "nosuchjob"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nosuchjob" in done.stderr.strip().splitlines()[-1]


def test_a_double_click_makes_one_job(db: Database) -> None:
    config = make_config(SMALL)
    assert create(config, db, request_key="k").id == create(config, db, request_key="k").id
    assert create(config, db).id != create(config, db).id


def test_phases_are_told_but_not_a_thousand_times_a_second(db: Database) -> None:
    job = held(db)
    with JobObserver(db, job) as observer:
        before = Metrics(db).version(job.id)
        for done in range(1000):
            observer.phase("sampling", done, 1000)
        assert Metrics(db).version(job.id) - before < 10
        observer.phase("sampling", 1000, 1000)
        assert Jobs(db).get(job.id).phase_done == 1000
        observer.phase("training", 0, 6)
        assert Jobs(db).get(job.id).phase == "training"
        Jobs(db).request_stop(job.id)
        observer.phase("training", 6, 6)
        assert observer.should_stop()
