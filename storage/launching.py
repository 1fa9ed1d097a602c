"""How worker and supervisor processes are started: apart from their parent, and without secrets.

A started process has its own session, so that a closed terminal or a stopped server does not
reach it, and a whole process group can be signalled.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from storage.locations import VARIABLE

ROOT = Path(__file__).resolve().parent.parent

_SECRET = ("TOKEN", "SECRET", "KEY", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH")
_NO_SECRET = {"TOKENIZERS_PARALLELISM"}


def worker_command(job_id: str) -> list[str]:
    """What runs a job: the same worker as by hand."""
    return [sys.executable, "-m", "rlkv.worker", "--job", job_id]


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what looks like a secret by its name."""
    return {
        name: value
        for name, value in environment.items()
        if name in _NO_SECRET or not any(word in name.upper() for word in _SECRET)
    }


def launch(command: Sequence[str], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start ``command`` in the background; its output is added to ``log``.

    It runs in the folder of the source, where ``python -m`` finds our packages, and with
    ``folder`` as its data folder.
    """
    environment = scrubbed(os.environ) | {
        VARIABLE: str(folder),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
        )


def forget(process: "subprocess.Popen[bytes]") -> None:
    """Let a process go on by itself; a thread takes its exit code, so no zombie stays."""
    threading.Thread(target=process.wait, daemon=True).start()


def last_line(log: Path, limit: int = 300) -> str:
    """The last line of a log that is not empty, or ""."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip()[-limit:] for line in reversed(lines) if line.strip()), "")
