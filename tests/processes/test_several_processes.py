"""One training on two processes: the same gates on both, one report, one end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rlkv.training.config import make_config
from rlkv.worker import create
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.launching import ROOT
from storage.masks import Masks
from storage.metrics import Metrics
from storage.supervisor import ensure_running
from tests.rlkv.short_training import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TWO: dict[str, Any] = {**SMALL, "prompts_per_step": 4, "eval_problems": 0, "processes": 2}


def diaries(folder: Path, *more: str, module: str = "rank_diary") -> list[Any]:
    command = [sys.executable, "-m", "rlkv.training.launcher", "2", f"tests.processes.{module}"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*command, str(folder), *more], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


def test_both_ranks_hold_the_same_gates_and_saw_different_problems(tmp_path: Path) -> None:
    first, second = diaries(tmp_path)
    assert first["steps"] == second["steps"] == 3
    assert len(first["gates"]) == 3
    assert first["gates"] == second["gates"]
    assert first["gates"][2] != first["gates"][0]
    assert len(set(np.frombuffer(bytes.fromhex(first["gates"][2]), "<f4"))) > 2
    assert min(first["gradients"]) > 0
    for mine, theirs in zip(first["problems"], second["problems"], strict=True):
        assert len(mine) == len(theirs) == 4
        assert not set(mine) & set(theirs)


def test_each_rank_pays_for_how_its_own_answers_ended(tmp_path: Path) -> None:
    first, second = diaries(tmp_path, module="rank_endings")
    assert first == second == [[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]]


def test_a_stop_that_one_rank_sees_stops_both_and_a_resume_goes_on_as_if_unbroken(
    tmp_path: Path,
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    unbroken = diaries(whole)[0]["gates"]
    stopped = diaries(parts, "1")
    assert [told["steps"] for told in stopped] == [1, 1]
    resumed = diaries(parts)
    assert [told["steps"] for told in resumed] == [3, 3]
    assert resumed[0]["gates"] == resumed[1]["gates"] == unbroken[1:]


@pytest.fixture
def db() -> Any:
    database = open_database()
    yield database
    database.close()


def test_accelerate_launch_makes_one_job_with_one_mask(db: Database, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--cpu"]
    options = "--steps 2 --problems 8 --prompts-per-step 2 --samples-per-prompt 2"
    rest = f"--eval-problems 4 --max-new-tokens 96 --json --out {tmp_path / 'mask'}"
    done = subprocess.run(
        [*command, "-m", "rlkv", "train", *options.split(), *rest.split()],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (job,) = Jobs(db).list()
    assert json.loads(done.stdout.splitlines()[-1])["job"] == job.id
    assert (job.state, job.step) == ("done", 2)
    assert any("on 2 processes" in event.text for event in Metrics(db).events(job.id))
    assert len(Masks(db).list(job_id=job.id)) == 1
    assert (tmp_path / "mask" / "gates.safetensors").is_file()


def test_a_users_mistake_is_one_line_of_rank_0() -> None:
    command = [sys.executable, "-m", "rlkv", "train", "--processes", "2", "--out", "unused"]
    odd = [*command, "--prompts-per-step", "3", "--samples-per-prompt", "3"]
    done = subprocess.run(odd, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "9 rows, which 2 processes can't share" in done.stderr
    deep = [*command, "--model", "no/such-model"]
    done = subprocess.run(deep, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no/such-model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_the_number_of_processes_ends_the_row(db: Database) -> None:
    job = create(make_config({**TWO, "processes": 5}), db)
    command = [sys.executable, "-m", "rlkv.worker", "--job", job.id]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 2
    ended = Jobs(db).get(job.id)
    assert (ended.state, ended.exit_code) == ("failed", 2)
    assert "which 5 processes can't share evenly" in ended.message


def until(db: Database, job_id: str, step: int | None = None, seconds: float = 240) -> Job:
    """Waits for a step, or for the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = Jobs(db).get(job_id)
        if job.is_terminal or (step is not None and job.step >= step):
            return job
        time.sleep(0.1)
    log = (Jobs(db).folder(job_id) / "log.txt").read_text()
    raise AssertionError(f"{Jobs(db).get(job_id)}\n{log}")


def ranks_of(job_id: str) -> list[psutil.Process]:
    """Living processes that work on the job, launcher included."""
    return [p for p in psutil.process_iter(["cmdline"]) if job_id in (p.info["cmdline"] or [])]


def test_the_app_stops_all_processes_of_a_job_together(db: Database) -> None:
    job = create(make_config({**TWO, "steps": 500}), db)
    ensure_running(db.folder)
    until(db, job.id, step=2)
    assert len(ranks_of(job.id)) == 3
    Jobs(db).request_stop(job.id)
    ended = until(db, job.id)
    assert ended.state == "cancelled"
    assert ended.message == "Stopped; mask kept"
    (mask,) = Masks(db).list(job_id=job.id)
    assert mask.info["steps_done"] == ended.step


def test_out_of_memory_on_one_rank_starts_all_again_with_fewer_rows(db: Database) -> None:
    job = create(make_config({**TWO, "steps": 4, "elimination": False}), db)
    command = [sys.executable, "-m", "rlkv.training.launcher", "2"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "RLKV_RESTARTS": "1"}
    done = subprocess.run(
        [*command, "tests.processes.short_of_memory", "--job", job.id],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ended = Jobs(db).get(job.id)
    assert (done.returncode, ended.state, ended.step) == (0, "done", 4), ended.message + done.stderr
    told = [e.text for e in Metrics(db).events(job.id) if "Out of memory" in e.text]
    assert told == [
        "Out of memory with 4 rows at once: going on with 2 from step 2",
        "Out of memory with 2 rows at once: going on with 1 from step 2",
    ]
    assert [step for step, _ in Metrics(db).series(job.id)["reward"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(("restarts", "code"), [("1", -9), ("", 137)])
def test_a_killed_rank_ends_the_launcher_as_killed_where_a_job_is_taken_up_again(
    tmp_path: Path, restarts: str, code: int
) -> None:
    command = [sys.executable, "-m", "rlkv.training.launcher", "2", "tests.processes.sleeping_rank"]
    environment = {**os.environ, **({"RLKV_RESTARTS": restarts} if restarts else {})}
    with subprocess.Popen([*command, str(tmp_path)], cwd=ROOT, env=environment) as launcher:
        deadline = time.monotonic() + 60
        while not (tmp_path / "0.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(int((tmp_path / "0.pid").read_text()), signal.SIGKILL)
        assert launcher.wait(timeout=60) == code


def test_ranks_that_hear_nothing_end_with_their_launcher(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlkv.training.launcher", "2", "tests.processes.sleeping_rank"]
    launcher = subprocess.Popen([*command, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while len(pids := list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    ranks = [psutil.Process(int(pid.read_text())) for pid in pids]
    assert len(ranks) == 2
    launcher.kill()
    launcher.wait()
    assert not psutil.wait_procs(ranks, timeout=5)[1]


def test_no_rank_outlives_a_killed_launcher_and_the_job_is_taken_up(db: Database) -> None:
    job = create(make_config({**TWO, "steps": 12}), db)
    ensure_running(db.folder)
    running = until(db, job.id, step=5)
    assert running.state == "running", running.message
    assert running.pid is not None
    before = ranks_of(job.id)
    os.kill(running.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(before, timeout=5)
    assert not alive
    ended = until(db, job.id)
    assert (ended.state, ended.attempt) == ("done", 2), ended.message
    assert [step for step, _ in Metrics(db).series(job.id)["reward"]] == list(range(1, 13))
