import os
import sys
from pathlib import Path

import pytest

from storage.launching import last_line, launch, scrubbed, worker_command


def test_secrets_stay_out_of_the_environment() -> None:
    secrets = ["HF_TOKEN", "WANDB_API_KEY", "aws_secret_access_key", "DB_PASSWORD", "GITHUB_TOKEN"]
    wanted = {"PATH": "/bin", "HF_HOME": "/hf", "TOKENIZERS_PARALLELISM": "false"}

    assert scrubbed(wanted | dict.fromkeys(secrets, "x")) == wanted


def test_a_launched_process_is_apart_and_writes_to_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    script = (
        "import os; print(os.getsid(0), os.environ.get('HF_TOKEN'), os.environ['RLKV_DATA_DIR'])"
    )

    with launch([sys.executable, "-c", script], tmp_path, tmp_path / "log.txt") as process:
        assert process.wait() == 0

    assert last_line(tmp_path / "log.txt") == f"{process.pid} None {tmp_path}"
    assert process.pid != os.getsid(0)


def test_the_worker_is_the_one_of_the_command_line() -> None:
    assert worker_command("abc") == [sys.executable, "-m", "rlkv.worker", "--job", "abc"]


def test_the_last_line_is_the_last_with_text(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert last_line(log) == ""

    log.write_bytes(b"first\n" * 5000 + b"caf\xe9 last \n\n  \n")
    assert last_line(log) == "caf\ufffd last"
    assert last_line(log, limit=4) == "last"
