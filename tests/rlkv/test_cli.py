import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlkv.cli import main, parser
from rlkv.commands.describing import leaves
from rlkv.masks import HeadMask
from rlkv.shipped import EXAMPLES
from rlkv.training.config import TrainConfig
from storage.database import open_database
from storage.jobs import Jobs
from storage.launching import ROOT
from tests.rlkv.command_line import run

PROMPT = "c=7; b=6; e:c-b; k:c-e; ?k"


def test_train_writes_a_mask_and_a_job_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = (
        "--steps 3 --prompts-per-step 2 --samples-per-prompt 2 --problems 6 --eval-problems 4"
        " --seed 5 --hardening none --max-new-tokens 96"
    )
    result = run(
        capsys, "train", "--model", "tracer", "--task", "tracing", "--preset", "quick",
        "--out", str(out), *options.split(),
    )  # fmt: skip
    assert (result["state"], result["steps"], result["n"]) == ("done", 3, 4)
    assert HeadMask.load(out).info["recipe"]["hardening"] == "none"
    db = open_database()
    job = Jobs(db).get(result["job"])
    db.close()
    assert (job.state, job.seed, job.step) == ("done", 5, 3)


def test_eval_compares_with_the_full_cache(
    capsys: pytest.CaptureFixture[str], mask_folder: str
) -> None:
    result = run(
        capsys, "eval", "--model", "tracer", "--task", "tracing", "--mask", mask_folder,
        "--sparsity", "1.0", "--n", "20", "--seed", "1",
    )  # fmt: skip
    assert result["n"] == 20
    assert result["accuracy_full"] >= 0.95
    assert result["accuracy"] <= 0.2
    assert result["sparsity"] == 1.0
    assert result["kv_bytes"] == 2 * 16 * 4 * 32 * 20
    assert result["kv_bytes_full"] > 4 * result["kv_bytes"]
    inverse = run(capsys, "eval", "--mask", mask_folder, "--inverse", "--n", "5")
    assert inverse["kept"] == 16
    drawn = run(capsys, "eval", "--random", "3", "--sparsity", "0.25", "--n", "5")
    assert drawn["kept"] == 24
    full = run(capsys, "eval", "--n", "5")
    assert "accuracy" not in full


def test_chat_answers_with_both_caches(
    capsys: pytest.CaptureFixture[str], mask_folder: str
) -> None:
    result = run(capsys, "chat", "--mask", mask_folder, "--sparsity", "0.5", PROMPT)
    assert result["full"]["text"].endswith("k=6")
    assert 0 <= result["kv_saved"] < 1
    assert main(["chat", PROMPT]) == 0
    assert "KV bytes" in capsys.readouterr().out


def test_mask_show_convert_and_diff(
    capsys: pytest.CaptureFixture[str], mask_folder: str, tmp_path: Path
) -> None:
    shown = run(capsys, "mask", "show", mask_folder)
    assert (shown["layers"], shown["kv_heads"], shown["kept"]) == (4, 8, 16)
    assert (HeadMask.load(shown["link"]).kept == HeadMask.load(mask_folder).kept).all()
    for name in (
        "a.zip",
        "b.tsv",
        "c",
        "new/a.zip",
        "newer/b.tsv",
        "newest/adapter_weights.tsv",
        "d.ZIP",
    ):
        out = str(tmp_path / name)
        run(capsys, "mask", "convert", mask_folder, out, "--sparsity", "0.25")
        assert HeadMask.load(out).shape == (4, 8)
    assert (tmp_path / "d.ZIP").is_file()
    for name in ("a.zip/d.tsv", "a.zip/adapter_weights.tsv", "a.zip/d.zip", "a.zip/d"):
        assert main(["mask", "convert", mask_folder, str(tmp_path / name)]) == 2
        assert f"Can't write the mask to '{tmp_path / name}': " in capsys.readouterr().err
    diff = run(capsys, "mask", "diff", mask_folder, str(tmp_path / "a.zip"))
    assert len(diff["differ"]) == 8
    assert diff["rank_correlation"] == pytest.approx(1.0)
    main(["mask", "show", mask_folder])
    assert "#" in capsys.readouterr().out


def test_doctor_fails_on_a_data_folder_that_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RLKV_DATA_DIR", str(tmp_path / "file"))
    assert main(["doctor"]) == 1
    assert "BAD  database" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["eval", "--model", "no/model", "--n", "1"], "no/model"),
        (["eval", "--mask", "nowhere"], "no mask at 'nowhere'"),
        (["eval", "--n", "0"], "--n must be"),
        (["eval", "--sparsity", "0.5"], "--sparsity cut a mask: give one by --mask or --random"),
        (["eval", "--inverse", "--sparsity", "0"], "--sparsity and --inverse cut a mask"),
        (["eval", "--task", "chess", "--n", "1"], "no task 'chess'"),
        (["train", "--out", "x", "--steps", "0"], "greater than or equal to 1"),
        (["train", "--out", "x", "--preset", "best"], "no preset 'best'"),
        (["train", "--out", "x", "--model", "no/model"], "no/model"),
        (["chat", ""], "question first"),
        (["chat", "--sparsity", "0.5", "a=3; ?a"], "name a mask with --mask"),
        (["chat", "--capture", "a=3; ?a"], "--capture needs a CUDA device"),
        (["chat", "--dtype", "int4", "a=3; ?a"], "choose one of float32"),
        (["chat", "--device", "tpu", "a=3; ?a"], "no device 'tpu'"),
        (["chat", "--mask", "", "a=3; ?a"], "no mask at ''"),
        (["chat", "--temperature", "nan", "a=3; ?a"], "Temperature must be"),
        (["chat", "--seed", "9" * 30, "a=3; ?a"], "too large"),
        (["eval", "--random", "-1", "--n", "1"], "0 or more, got -1"),
        (["jobs", "list", "--limit", "0"], "--limit must be"),
        (["train", "--out", "x", "--seed", "9" * 30], "less than or equal to 4294967295"),
        (["train", "--out", "x", "--steps", "1", "--device", "tpu"], "no device 'tpu' here"),
        (["train", "--out", "x", "--device", "cuda:99"], "no device 'cuda:99' here"),
        (["train", "--out", __file__, "--steps", "1"], f"'{__file__}' is a file"),
        (["train", "--out", f"{__file__}/x", "--steps", "1"], f"'{__file__}' is a file"),
        (["sweep", "--out", __file__], f"'{__file__}' is a file"),
        (["sweep", "--out", "x" * 5000], "can't be a folder: File name too long"),
        (["heads", "--mask-out", __file__, "--n", "1"], f"'{__file__}' is a file"),
        (["heads", "--csv", f"{__file__}/x", "--n", "1"], f"'{__file__}' is a file"),
        (["heads", "--top", "-3"], "--top must be 0 (all heads) or more"),
        (["heads", "--sparsity", "0.5"], "--sparsity has nothing to cut"),
        (["heads", "--sparsity", "9", "--mask-out", "x"], "from 0 to 1"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: COMMAND (see python -m rlkv --help)"),
        (["chess"], "invalid choice: 'chess'"),
        (["train"], "required: --out (see python -m rlkv train --help)"),
        (["train", "--out", "x", "--steps", "many"], "invalid int value: 'many'"),
        (["jobs"], "required: VERB"),
        (["doctor", "--chess"], "unrecognized arguments: --chess"),
    ],
)
def test_what_is_no_command_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize("arguments", [["chat", "?a"], ["eval", "--n", "2"], ["heads"]])
def test_a_model_larger_than_memory_is_refused_before_it_is_read(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = json.loads((EXAMPLES / "models" / "tracer" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 10**12}))
    assert main([*arguments, "--model", str(tmp_path)]) == 2
    assert "does not fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--out", ""],
        ["sweep", "--out", ""],
        ["mask", "convert", "m.zip", ""],
        ["heads", "--csv", ""],
        ["jobs", "metrics", "id", "--out", " "],
    ],
)
def test_no_text_is_no_path_to_write_to(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be the current folder, and a mask's README.md would replace the one there."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "name a file or a folder" in capsys.readouterr().err


def test_a_sparsity_outside_the_range(capsys: pytest.CaptureFixture[str], mask_folder: str) -> None:
    assert main(["eval", "--mask", mask_folder, "--sparsity", "1.5"]) == 2
    assert "from 0 to 1" in capsys.readouterr().err


def test_a_mask_of_another_shape(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = HeadMask.full(3, 3).save(tmp_path / "other")
    assert main(["eval", "--mask", str(folder), "--n", "2"]) == 2
    said = capsys.readouterr()
    assert "3 layers x 3 KV heads but tracer has 4 x 8" in said.err
    assert "full cache" not in said.out  # nothing was measured in vain


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in TrainConfig.model_fields:
        assert f"--{name.replace('_', '-')}" in text or f"--no-{name}" in text


@pytest.mark.parametrize(("words", "command"), list(leaves(parser())))
def test_every_command_helps(words: str, command: argparse.ArgumentParser) -> None:
    assert f"rlkv {words}" in command.format_help()


def test_help_is_fast_and_needs_no_torch() -> None:
    code = "import sys, rlkv.cli; rlkv.cli.parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_libraries_hear_of_no_telemetry_and_no_network_before_they_are_imported() -> None:
    """They read it once. Tests set it from outside, so this one looks from a process without."""
    code = """
import rlkv.worker

def run_here(*args, **options):
    from huggingface_hub import constants
    print(constants.HF_HUB_DISABLE_TELEMETRY, constants.HF_HUB_OFFLINE)
    raise SystemExit(0)

rlkv.worker.run_here = run_here
from rlkv.cli import main
main(["train", "--steps", "1", "--out", "unused"])
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, "RLKV_OFFLINE": "1"}, cwd=ROOT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True"]
