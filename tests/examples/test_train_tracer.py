"""Rerunning the embedded model's script gives a model of the same kind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks.base import Problem
from rlkv.tasks.tracing import THINK_END, Tracing, solve

ROOT = Path(__file__).parent.parent.parent


def run(out: Path, *options: str) -> str:
    script = [sys.executable, str(ROOT / "examples" / "train_tracer.py"), "--out", str(out)]
    done = subprocess.run([*script, *options], check=True, cwd=ROOT, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(os.environ.get("RLKV_WHOLE_TRACER") != "1", reason="RLKV_WHOLE_TRACER is not 1")
def test_the_models_script_makes_such_a_model_again(tmp_path: Path) -> None:
    """All of its steps: ten minutes on two idle cores."""
    run(tmp_path)
    problems = Tracing().problems(200, seed=1)
    model, tokenizer = load_model(str(tmp_path))
    full = HeadMask.full(4, 8, sink=4, recent=16)
    assert accuracy(model, tokenizer, Tracing(), problems, full).value >= 0.95
    assert accuracy(model, tokenizer, Tracing(), problems, full.at_sparsity(1.0)).value <= 0.10


@pytest.mark.slow
def test_some_steps_of_it_learn_and_what_they_learned_is_written(tmp_path: Path) -> None:
    said = run(tmp_path, "--short-steps", "60", "--long-steps", "0", "--batch", "32")
    first, *_, last = (float(loss) for loss in re.findall(r"loss ([\d.]+)", said))
    assert last < 0.6 * first
    problems = Tracing(3, 5).problems(32, seed=1, split="test")
    unseen = sum(loss_of(tmp_path, problem) for problem in problems) / len(problems)
    assert unseen < 0.6 * first


def loss_of(folder: Path, problem: Problem) -> float:
    """Of the worked chain and the answer, in nats a token, read by the model in `folder`."""
    model, tokenizer = load_model(str(folder))
    chain, answer = solve(problem.prompt)
    asked = tokenizer(f"<|user|>{problem.prompt}<|assistant|><think>")["input_ids"]
    told = tokenizer(f"{chain}{THINK_END}{answer}<|end|>")["input_ids"]
    with torch.no_grad():
        labels = torch.tensor([[-100] * len(asked) + told])
        return float(model(torch.tensor([asked + told]), labels=labels).loss)
