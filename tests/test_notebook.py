"""The notebooks of examples/ run, and print what is stored in them."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
run = runpy.run_path(str(ROOT / "scripts" / "notebook.py"))["run"]


def outputs(notebook: dict[str, Any]) -> list[str]:
    """What each code cell prints, and the pictures that it shows."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [
        "".join(
            "".join(one.get("text", one.get("data", {}).get("image/svg+xml", [])))
            for one in cell["outputs"]
        )
        for cell in cells
    ]


@pytest.mark.slow
def test_the_first_steps() -> None:
    (path,) = NOTEBOOKS
    stored = json.loads(path.read_text())
    again = copy.deepcopy(stored)
    names = run(again)
    before, after = outputs(stored), outputs(again)
    # Model, mask, picture, cuts, and both answers with their bytes are the same everywhere.
    assert after[:4] == before[:4]
    assert after[1].startswith("<svg")
    assert names["measured"]["compressed"] < 0.6 * names["measured"]["full"]
    # Accuracy and training may differ in the last digit of a log-probability.
    assert names["right"]["full cache"] >= 0.95
    assert names["right"]["learned, half compressed"] >= 0.9
    assert names["right"]["random, half compressed"] < names["right"]["learned, half compressed"]
    assert names["learned"].gates.mean() < 1.0  # two steps have moved the gates
    assert after[5].endswith("saved and read again: True\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_it_is_a_notebook_with_outputs_of_its_own_run(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    counts = [c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for cell in notebook["cells"]:
        for link in "".join(cell["source"]).split("](")[1:]:
            target = link.partition(")")[0]
            assert target.startswith("http") or (path.parent / target).exists(), target


def test_an_error_in_a_cell_ends_the_run() -> None:
    cells = [{"cell_type": "code", "source": ["1 / 0"]}]
    with pytest.raises(ZeroDivisionError):
        run({"cells": cells})
