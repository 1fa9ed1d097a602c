"""Jobs and sweeps on the command line: listed, shown, stopped, gone on with."""

from pathlib import Path

import numpy as np
import pytest

from rlkv.cli import main
from rlkv.evaluation.answers import read_answers
from rlkv.worker import create_evaluation
from storage.database import open_database
from storage.jobs import Jobs
from tests.rlkv.command_line import run
from tests.rlkv.evaluation.stage import small


@pytest.mark.slow
def test_jobs_are_listed_shown_exported_cloned_and_deleted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = (
        "--steps 2 --prompts-per-step 2 --samples-per-prompt 2 --problems 6 --eval-problems 0 "
        "--no-elimination"
    )
    first = run(capsys, "train", "--out", str(tmp_path / "a"), *options.split())["job"]
    clone = run(capsys, "train", "--from-job", first, "--seed", "3", "--out", str(tmp_path / "b"))[
        "job"
    ]

    listed = run(capsys, "jobs", "list")["jobs"]
    assert [job["id"] for job in listed] == [clone, first]
    shown = run(capsys, "jobs", "show", clone)
    assert (shown["cloned_from"], shown["seed"], shown["state"]) == (first, 3, "done")
    assert shown["settings"] == {**run(capsys, "jobs", "show", first)["settings"], "seed": 3}
    assert shown["versions"]["python"]
    assert len(shown["masks"]) == 1

    table = tmp_path / "m.csv"
    run(capsys, "jobs", "metrics", first, "--out", str(table))
    rows = table.read_text().splitlines()
    assert rows[0].startswith("step,completion_length,")
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2"]
    run(capsys, "jobs", "metrics", first, "--out", str(tmp_path / "g.npz"))
    with np.load(tmp_path / "g.npz") as gates:
        assert gates["gates"].shape == (2, 4, 8)

    run(capsys, "jobs", "delete", first)
    assert [job["id"] for job in run(capsys, "jobs", "list")["jobs"]] == [clone]
    assert run(capsys, "jobs", "show", clone)["cloned_from"] is None


def test_jobs_wait_stop_and_refuse_by_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    db = open_database()
    job = Jobs(db).create("train", {"old": 1}, total_steps=3)
    assert main(["jobs", "metrics", job.id, "--out", str(tmp_path / "m.txt")]) == 2
    assert "ends in .csv" in capsys.readouterr().err
    assert main(["jobs", "metrics", job.id, "--out", str(tmp_path / "g.npz")]) == 2
    assert "no gates yet" in capsys.readouterr().err
    assert main(["jobs", "delete", job.id]) == 2
    assert "Stop it before" in capsys.readouterr().err
    assert main(["jobs", "show", "nosuchjob"]) == 2
    assert "no job nosuchjob" in capsys.readouterr().err
    Jobs(db).request_stop(job.id)
    assert main(["jobs", "list"]) == 0
    assert f"{job.id}  cancelled" in capsys.readouterr().out
    db.close()


def test_sweep_writes_its_curves_and_goes_on_where_it_stopped(
    capsys: pytest.CaptureFixture[str], mask_folder: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(
        capsys, "sweep", "--mask", mask_folder, "--methods", "learned,streaming",
        "--sparsities", "0.5,0.9", "--problems", "4", "--out", str(out),
    )  # fmt: skip
    assert (result["state"], result["samples"]) == ("done", 4 * 4)
    assert result["accuracy"]["streaming"] == {"1": 0.0}
    assert set(result["accuracy"]["learned-0"]) == {"0.5", "0.9"}
    assert {path.name for path in out.iterdir()} == {
        "points.csv", "samples.csv", "evaluation.json", "curves.html", "answers.json.gz",
    }  # fmt: skip
    kept = read_answers(out / "answers.json.gz")
    assert (len(kept.problems), len(kept.cells), len(kept.samples)) == (4, 4, 16)
    assert len((out / "points.csv").read_text().splitlines()) == 1 + 4
    assert main(["sweep", "--resume", result["job"]]) == 2
    assert "is done" in capsys.readouterr().err
    db = open_database()
    Jobs(db).create("train", {}, total_steps=1)
    (other,) = [job.id for job in Jobs(db).list() if job.kind == "train"]
    db.close()
    assert main(["sweep", "--resume", other]) == 2
    assert "not an evaluation" in capsys.readouterr().err


def test_a_stopped_sweep_can_be_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    db = open_database()
    job = create_evaluation(small(problems=2), db)
    Jobs(db).request_stop(job.id)
    db.close()
    result = run(capsys, "sweep", "--resume", job.id)
    assert (result["job"], result["state"], result["samples"]) == (job.id, "done", 6)
