"""docs/heads.md: its commands are understood, its Python runs, its rankings are those there are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rlkv.cli import parser
from rlkv.explore.measures import MEASURES
from rlkv.explore.rankings import RANKINGS

ROOT = Path(__file__).parent.parent.parent.parent
PAGE = (ROOT / "docs" / "heads.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_commands_are_understood() -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(lines) >= 5
    for line in lines:
        assert parser().parse_args(shlex.split(line, comments=True)[3:]).run


@pytest.mark.slow
def test_the_python_runs() -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Alike(layer=" in done.stdout
    assert "k=6" in done.stdout


def test_every_ranking_is_explained_under_its_name() -> None:
    for key in RANKINGS:
        assert f"**{MEASURES[key].title}** (`{key}`)." in PAGE
