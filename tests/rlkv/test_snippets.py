"""The programs that a page shows are run as they stand, by a fresh process elsewhere."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.shipped import EXAMPLES
from rlkv.snippets import cli_snippet, python_snippet
from tests.rlkv.families import tiny


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def mask() -> HeadMask:
    return HeadMask.load(EXAMPLES / "masks" / "tracer").at_sparsity(0.4).toggle(3, 7)


@pytest.mark.slow
def test_the_program_answers_on_the_embedded_model(mask: HeadMask, tmp_path: Path) -> None:
    said = run(["-c", python_snippet(mask)], tmp_path)
    assert "k=6" in said
    assert f"{mask.n_kept} of 32 heads kept whole" in said


@pytest.mark.slow
def test_three_lines_serve_a_model_that_transformers_loaded_itself(
    mask: HeadMask, tmp_path: Path
) -> None:
    model, folder = tiny("llama"), tmp_path / "a model's folder"
    model.save_pretrained(folder)
    tokenizer = load_model("tracer")[1]
    tokenizer.save_pretrained(folder)
    layers, heads = model.config.num_hidden_layers, model.config.num_key_value_heads
    own = HeadMask.random(layers, heads, sparsity=0.5, seed=0, sink=2, recent=4, model=str(folder))
    own.save(tmp_path / 'mask "of" mine')
    program = python_snippet(own, 'mask "of" mine')
    assert "load_model" not in program
    assert program.count("rlkv.") == 2  # the mask and its cache; the third line is generate
    # The tokenizer of the puzzles has no words for the question; any text will do here.
    said = run(["-c", program.replace("What is 17 * 23?", "a=3; b=4; c:a+b; ?c")], tmp_path)
    assert "bytes of KV cache" in said


@pytest.mark.slow
def test_the_command_answers_too(mask: HeadMask, tmp_path: Path) -> None:
    words = shlex.split(cli_snippet(mask))
    assert words[0] == "python"
    assert "k=6" in run(words[1:], tmp_path)


def test_hostile_names_stay_strings(mask: HeadMask) -> None:
    evil = replace(mask, model='x"); import os; os.system("echo broken") #\n$(touch x)')
    program = python_snippet(evil, "a'b\"c\n; rm -rf /")
    compile(program, "snippet", "exec")
    assert "os.system" not in {
        name for name in compile(program, "snippet", "exec").co_names if "os" in name
    }
    assert "import os" not in [line.strip() for line in program.splitlines()]
    assert shlex.split(cli_snippet(evil))[5] == evil.model
