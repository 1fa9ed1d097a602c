"""A tab that is closed in the middle of an answer frees the model at once, and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.launching import ROOT
from tests.load.closed_tab import CLOSED_KEPT
from tests.processes.stage import supervisors

SECONDS = 1.0


@pytest.mark.slow
@pytest.mark.clock
@pytest.mark.timeout(180)
def test_a_closed_tab_frees_model_and_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.closed_tab", str(tmp_path)], cwd=ROOT,
        capture_output=True, text=True, check=False,
        env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "tmp")},
    )  # fmt: skip
    for supervisor in supervisors(tmp_path):
        supervisor.kill()
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert max(found["seconds"]) < SECONDS, found
    assert found["kept_bytes"] == 0
    assert found["caches"] == 0
    assert found["sessions"] <= CLOSED_KEPT
