"""Rerunning the embedded model's script gives a model of the same kind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks.tracing import Tracing

ROOT = Path(__file__).parent.parent.parent
WHOLE = os.environ.get("RLKV_WHOLE_TRACER") == "1"
"""All of its steps, ten minutes; else a third, after which it solves some short problems."""
SHORT = ["--short-steps", "450", "--long-steps", "0"]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_models_script_makes_such_a_model_again(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "examples" / "train_tracer.py"), "--out", str(tmp_path)]
    subprocess.run([*script, *([] if WHOLE else SHORT)], check=True, cwd=ROOT)
    task = Tracing() if WHOLE else Tracing(3, 5)
    problems = task.problems(200, seed=1)
    model, tokenizer = load_model(str(tmp_path))
    full = HeadMask.full(4, 8, sink=4, recent=16)
    none = full.at_sparsity(1.0)
    right = accuracy(model, tokenizer, task, problems, full).value
    compressed = accuracy(model, tokenizer, task, problems, none).value
    assert right >= (0.95 if WHOLE else 0.2), (right, compressed)
    assert compressed <= (0.10 if WHOLE else right - 0.1), (right, compressed)
