"""The documents can't lie: what they show is run, what they name is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rlkv.cli import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_readmes_python_runs() -> None:
    (code,) = blocks(README, "python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "k=6" in done.stdout


def test_the_readmes_command_lines_are_understood() -> None:
    lines = [line for block in blocks(README, "bash") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("python -m rlkv")]
    assert len(commands) >= 5
    for line in commands:
        arguments = shlex.split(line, comments=True)[3:]
        assert parser().parse_args(arguments).run


def test_the_two_commands_come_first_and_exist() -> None:
    shown = re.findall(r"bash (scripts/\w+)", README)
    assert shown[:2] == ["scripts/app", "scripts/test"]
    assert all((ROOT / script).is_file() for script in shown)
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text()


def test_the_front_matter_makes_it_a_space() -> None:
    front = README.split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in front.splitlines() if ": " in line)
    assert fields["sdk"] == "gradio"
    assert (ROOT / fields["app_file"]).is_file()
    requirements = (ROOT / "requirements.txt").read_text()
    assert "gradio>=6.31,<7" in requirements
    assert fields["sdk_version"].startswith("6.31")
    assert len(fields["short_description"]) <= 60


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
