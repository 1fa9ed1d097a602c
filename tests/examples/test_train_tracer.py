"""Rerunning the embedded model's script gives a model of the same figures."""

import subprocess
import sys
from pathlib import Path

import pytest

from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import get_task

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_models_script_makes_such_a_model_again(tmp_path: Path) -> None:
    script = ROOT / "examples" / "train_tracer.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True, cwd=ROOT)
    task = get_task("tracing")
    problems = task.problems(200, seed=1)
    model, tokenizer = load_model(str(tmp_path))
    full = HeadMask.full(4, 8, sink=4, recent=16)
    none = full.at_sparsity(1.0)
    assert accuracy(model, tokenizer, task, problems, full).value >= 0.95
    assert accuracy(model, tokenizer, task, problems, none).value <= 0.10
