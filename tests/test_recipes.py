"""The recipes of docs/extending.md, followed once for real: the task trains, the baselines are
measured, the family goes through the exactness tests. The page is in tests/browser."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.recipes import commands, follow


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("copy")
    new, edited = follow(folder)
    touched = [str(path) for path in (*new, *edited) if path.suffix == ".py"]
    assert (len(new), len(set(edited))) == (4, 7)
    run(folder, ["-m", "ruff", "check", *touched])
    run(folder, ["-m", "ruff", "format", "--check", *touched])
    return folder


def run(folder: Path, words: list[str]) -> str:
    environment = {**os.environ, "RLKV_DATA_DIR": str(folder / "data")}
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answer(folder: Path, line: str) -> dict[str, Any]:
    """What a command of the page prints with `--json`."""
    words = [*shlex.split(line)[1:], "--json"]
    found: dict[str, Any] = json.loads(run(folder, words).splitlines()[-1])
    return found


@pytest.mark.slow
def test_the_task_is_trained_on_and_measured(copy: Path) -> None:
    _, train, evaluate = commands("A task")
    trained = answer(copy, train)
    assert (trained["state"], trained["steps"]) == ("done", 2)
    assert json.loads((copy / "sums-mask" / "config.json").read_text())["info"]["task"] == "sums"
    measured = answer(copy, evaluate)
    assert measured["n"] == 8
    assert measured["accuracy_full"] > 0.5  # the embedded model can do sums


@pytest.mark.slow
def test_both_baselines_are_measured(copy: Path) -> None:
    _, sweep = commands("A baseline that drops tokens")
    found = answer(copy, sweep)
    assert found["state"] == "done"
    assert list(found["accuracy"]) == ["learned-0", "value_norm", "latest"]
    assert found["accuracy"]["learned-0"]["0.3"] == 1.0
    assert found["accuracy"]["latest"]["0.3"] < 1.0  # facts given far above are gone


@pytest.mark.slow  # half a minute
def test_the_projects_own_tests_hold_for_all_that_was_added(copy: Path) -> None:
    """Those that the page names, in one go."""
    named = [
        shlex.split(line)[3:]
        for heading in ("A task", "A baseline that drops tokens", "A model family")
        for line in commands(heading)
        if "pytest" in line
    ]
    files = [word for words in named for word in words if word.endswith(".py")]
    added = [words[-1] for words in named]
    assert added == ["sums", "latest", "olmo2"]
    chosen = " or ".join([*added, "the_page_lists"])
    said = run(copy, ["-m", "pytest", *files, "-k", chosen, "-p", "no:cacheprovider", "-v"])
    passed = re.findall(r"::(\S+) PASSED", said)
    for name in added:
        assert sum(f"[{name}" in one or f"-{name}" in one for one in passed) >= 7, name
    assert "test_the_page_lists_what_there_is" in passed
    assert " failed" not in said
