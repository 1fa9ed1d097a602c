"""A training as a Hugging Face Job, against a stand-in that really runs it."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.remote.following import _Follower
from rlkv.remote.hub_job import HubJob, told
from rlkv.remote.inside import model_told
from rlkv.remote.lines import Joiner, LineObserver, cut, gates_of, mask_of
from rlkv.remote.source import archive
from rlkv.training.config import make_config
from rlkv.training.result import as_mask
from rlkv.training.run import train
from rlkv.worker import create
from storage.database import Database, open_database
from storage.jobs import Job, Jobs
from storage.launching import ROOT, scrubbed
from storage.masks import Masks
from storage.metrics import Metrics
from tests.rlkv.hub_client import use
from tests.rlkv.jobs_stand_in import TOKEN, Cloud, cloud
from tests.rlkv.short_training import SMALL, Log

REMOTE: dict[str, Any] = {**SMALL, "steps": 2, "where": "hf-job", "flavor": "cpu-basic"}
FAIL = "import os; print('so says', os.environ['HF_TOKEN']); raise SystemExit(3)\n"


@pytest.fixture
def db() -> Iterator[Database]:
    database = open_database()
    yield database
    database.close()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Cloud]:
    with cloud(tmp_path / "cloud") as made:
        yield made


def worker(job: Job, far: Cloud, home: Path, token: str = TOKEN) -> "subprocess.Popen[bytes]":
    """The worker as the supervisor starts it, with a home of its own."""
    home.mkdir(exist_ok=True)
    if token:
        (home / "token").write_text(token)
    own = {"HF_ENDPOINT": far.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    environment = scrubbed(os.environ) | own
    with (Jobs(open_database()).folder(job.id) / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "rlkv.worker", "--job", job.id],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip


def until_step(db: Database, job: Job, step: int) -> None:
    deadline = time.monotonic() + 120
    while (now := Jobs(db).get(job.id)).step < step:
        assert not now.is_terminal, now.message
        assert time.monotonic() < deadline, now
        time.sleep(0.05)


def has_no_token(folder: Path) -> bool:
    return not any(TOKEN.encode() in p.read_bytes() for p in folder.rglob("*") if p.is_file())


# --- lines --------------------------------------------------------------------------------


def test_messages_survive_other_output_and_long_ones_are_cut() -> None:
    lines: list[str] = []
    observer = LineObserver(lines.append)
    gates = np.random.default_rng(0).random((64, 32)).astype(np.float32)
    observer.step(3, {"reward": 0.5}, gates)
    mask = HeadMask.from_scores(gates, sink=4, recent=16, model="m", name="n", info={"a": [1]})
    observer.mask(mask)
    assert len(lines) > 4
    assert max(map(len, lines)) < 4100
    joiner = Joiner()
    mixed = [line for whole in lines for line in ("Downloading 3 %", whole)]
    step, last = [message for line in mixed if (message := joiner.add(line))]
    assert (step["number"], step["step"], step["metrics"]) == (1, 3, {"reward": 0.5})
    assert np.array_equal(gates_of(step), gates)
    assert mask_of(last) == mask


def test_a_log_read_again_in_the_middle_of_a_message_is_no_mix() -> None:
    lines = cut({"number": 7, "kind": "event", "text": "x" * 9000})
    joiner = Joiner()
    assert [joiner.add(line) for line in lines[:2]] == [None, None]
    assert next(m for line in lines if (m := joiner.add(line)))["text"] == "x" * 9000


def test_the_archive_holds_our_packages_and_nothing_of_the_user() -> None:
    name, data = archive()
    assert archive() == (name, data)
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        names = set(tar.getnames())
        file = tar.extractfile("requirements.txt")
        assert file is not None
        wanted = file.read().decode()
    assert {"rlkv/remote/inside.py", "storage/jobs.py", "pyproject.toml"} <= names
    assert "examples/models/tracer/config.json" in names
    assert not any("__pycache__" in n or n.startswith(("tests", ".")) for n in names)
    assert "torch==" in wanted
    assert "gradio" not in wanted


def test_a_stopped_job_has_the_window_to_deploy_and_what_masks_note_of_a_model(
    tmp_path: Path,
) -> None:
    config = make_config({**REMOTE, "deployed_sink": 2, "deployed_recent": 8})
    follower = _Follower(config, tmp_path, Log(), TOKEN)
    joiner, gates = Joiner(), np.random.default_rng(0).random((4, 8)).astype(np.float32)

    def tell(line: str) -> None:
        follower._hear(joiner, line)

    job = LineObserver(tell)
    job.send("model", **model_told(config))
    job.step(1, {"reward": 0.5}, gates)

    mask = follower.newest()
    here = as_mask(load_model("tracer")[0], gates, config, 1, {})
    assert (mask.sink, mask.recent) == (2, 8)
    assert mask == here
    assert mask.info == here.info


def test_a_stopped_job_of_a_pinned_model_leaves_a_mask_of_that_model(tmp_path: Path) -> None:
    config = make_config({**REMOTE, "model": "org/name@v2", "elimination": True})
    follower = _Follower(config, tmp_path, Log(), TOKEN)
    joiner, gates = Joiner(), np.ones((4, 8), np.float32)
    LineObserver(lambda line: follower._hear(joiner, line)).step(2, {"reward": 0.5}, gates)
    mask = follower.newest()
    assert (mask.model, mask.revision) == ("org/name", "v2")
    assert mask.name.startswith("name ")
    assert mask.info["stopped_in"] == "elimination"  # all steps are done


def test_a_line_that_the_log_lost_costs_its_message_and_no_more(tmp_path: Path) -> None:
    log = Log()
    follower = _Follower(make_config(REMOTE), tmp_path, log, TOKEN)
    lines: list[str] = []
    job = LineObserver(lines.append)
    job.event("first " + "x" * 9000)
    job.event("second " + "y" * 9000)
    job.event("third")
    joiner = Joiner()
    for number, line in enumerate(lines):
        if number not in (1, 3):  # in the middle of the first, the beginning of the second
            follower._hear(joiner, line)
    assert log.events[-1] == "third"
    assert not any(event.startswith("second") for event in log.events)


def test_without_a_network_it_is_said_that_a_job_goes_on() -> None:
    words = r"does not answer \(ConnectionError\)\. .* is paid for"
    with pytest.raises(UserError, match=words), told(HfApi()):
        raise ConnectionError
    with pytest.raises(ZeroDivisionError), told(HfApi()):
        _ = 1 / 0


def test_a_refusal_says_what_a_job_needs_and_not_the_token(
    far: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, far.url, tmp_path)
    far.refusal = 402, f"no plan for {TOKEN}"
    words = r"Jobs need a plan or credit on Hugging Face \(status 402, no plan for \[token\]\)"
    with pytest.raises(UserError, match=words):
        HubJob(HfApi(far.url, TOKEN), "user", "job0").stage()


# --- whole jobs ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_far_away_ends_as_one_here(db: Database, far: Cloud, tmp_path: Path) -> None:
    job = create(make_config({**REMOTE, "timeout": "90m"}), db)
    assert worker(job, far, tmp_path / "home").wait() == 0
    ended = Jobs(db).get(job.id)
    assert (ended.state, ended.step) == ("done", 2), ended.message
    (row,) = Masks(db).list(job_id=job.id)
    mask = HeadMask.from_record(row.to_record())
    log = Log()
    here = train(make_config({**REMOTE, "where": "here"}), tmp_path / "here", log)
    assert np.array_equal(mask.scores, here.scores)
    assert np.array_equal(mask.kept, here.kept)
    assert mask.info["metrics"] == here.info["metrics"]
    metrics = Metrics(db)
    assert [v for _, v in metrics.series(job.id)["reward"]] == [
        log.steps[step]["reward"] for step in (1, 2)
    ]
    assert [step for step, _ in metrics.snapshots(job.id)] == [1, 2]
    assert any("user/job0" in event.text for event in metrics.events(job.id))
    (spec,) = [made.spec for made in far.jobs.values()]
    assert (spec["dockerImage"], spec["flavor"]) == ("python:3.12", "cpu-basic")
    assert spec["timeoutSeconds"] == 90 * 60
    assert TOKEN not in str({**spec, "secrets": None})
    assert has_no_token(db.folder)


@pytest.mark.slow
def test_a_killed_follower_is_replaced_and_nothing_is_told_twice(
    db: Database, far: Cloud, tmp_path: Path
) -> None:
    job = create(make_config({**REMOTE, "steps": 6}), db)
    first = worker(job, far, tmp_path / "home")
    until_step(db, job, 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert worker(job, far, tmp_path / "home").wait() == 0
    ended = Jobs(db).get(job.id)
    assert (ended.state, ended.step, len(far.jobs)) == ("done", 6, 1), ended.message
    metrics = Metrics(db)
    assert [step for step, _ in metrics.series(job.id)["reward"]] == [1, 2, 3, 4, 5, 6]
    texts = [event.text for event in metrics.events(job.id)]
    assert sum("of them kept" in text for text in texts) == 1
    assert sum("Following Hugging Face Job" in text for text in texts) == 1


@pytest.mark.slow
def test_stop_cancels_the_job_and_keeps_the_newest_gates(
    db: Database, far: Cloud, tmp_path: Path
) -> None:
    job = create(make_config({**REMOTE, "steps": 500}), db)
    process = worker(job, far, tmp_path / "home")
    until_step(db, job, 2)
    Jobs(db).request_stop(job.id)
    assert process.wait(timeout=60) == 0
    ended = Jobs(db).get(job.id)
    assert (ended.state, ended.message) == ("cancelled", "Stopped; mask kept")
    assert far.jobs["job0"].stage() == "CANCELED"
    (row,) = Masks(db).list(job_id=job.id)
    assert row.info["steps_done"] == ended.step
    assert row.to_record()["scores"] == Metrics(db).snapshots(job.id)[-1][1]


@pytest.mark.slow
def test_a_failure_is_told_with_the_last_words_but_not_the_token(
    db: Database, far: Cloud, tmp_path: Path
) -> None:
    far.before = FAIL
    job = create(make_config(REMOTE), db)
    assert worker(job, far, tmp_path / "home").wait() == 2
    ended = Jobs(db).get(job.id)
    assert ended.state == "failed"
    assert "ended as ERROR without a mask" in ended.message
    assert "Its last words: so says [token]" in ended.message
    assert has_no_token(db.folder)


@pytest.mark.slow
def test_a_mistake_found_far_away_is_told_here(db: Database, far: Cloud, tmp_path: Path) -> None:
    job = create(make_config({**REMOTE, "max_new_tokens": 4}), db)
    assert worker(job, far, tmp_path / "home").wait() == 2
    assert "The model solves none of 8" in Jobs(db).get(job.id).message


@pytest.mark.parametrize(
    ("token", "values", "words"),
    [
        ("", {}, "run `hf auth login`"),
        ("hf_wrong", {}, "run `hf auth login` again (status 401"),
        (TOKEN, {"model": "my-folder"}, "choose a model by its Hub id"),
        (TOKEN, {"task": "jsonl:mine.jsonl"}, "does not see this machine's files"),
        (TOKEN, {"model": "some/model", "task": "mbpp"}, "Choose another task"),
    ],
)
@pytest.mark.slow
def test_what_a_person_must_do_first_is_said(
    db: Database, far: Cloud, tmp_path: Path, token: str, values: dict[str, Any], words: str
) -> None:
    job = create(make_config({**REMOTE, **values}), db)
    assert worker(job, far, tmp_path / "home", token).wait() == 2
    ended = Jobs(db).get(job.id)
    assert ended.state == "failed"
    assert words in ended.message
    assert not far.jobs
