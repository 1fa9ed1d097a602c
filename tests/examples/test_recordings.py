"""The scripts of examples/ that make what is shipped: run again, they make the same."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", [script, *options])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_comparison_of_the_first_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "comparison.json"
    run(monkeypatch, "record_comparison.py", "--out", str(out))
    again, shipped = read(out), read(EXAMPLES / "comparison.json")
    for record in (again, shipped):
        for side in record["sides"]:
            assert all(step.pop("seconds") >= 0 for step in side["steps"])
    assert again == shipped  # every token and every measured byte


@pytest.mark.slow
def test_the_conversations_of_the_chat_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "record_chats.py", "--out", str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["1-half.json", "2-chosen.json", "3-cut.json"]
    for name in names:
        assert told(read(tmp_path / name)) == told(read(EXAMPLES / "chats" / name))


def told(record: dict[str, Any]) -> list[Any]:
    """What is asked and answered, and what it took."""
    found = []
    for message in record["messages"]:
        sides = (message.get("answer") or {}).get("sides", [])
        kept = [(s["name"], s["text"], s["now"]["tokens"], s["now"]["bytes"]) for s in sides]
        found.append((message["role"], message["text"], kept))
    return found


def test_the_sweep_prints_its_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = str(EXAMPLES / "masks" / "tracer")
    options = ["--n", "10", "--sparsities", "0.5", "--draws", "1"]
    run(monkeypatch, "sweep_masks.py", "--mask", mask, *options)
    lines = capsys.readouterr().out.splitlines()
    rows = dict(line.strip("| ").split(" | ") for line in lines if not line.startswith("|-"))
    assert float(rows["tracer tracing seed 0"]) > 0.8
    assert float(rows["lowest-ranked kept instead"]) < 0.3
