"""Arrows point one way: ui -> storage, rlkv; two parts of rlkv -> storage; storage -> nothing."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("rlkv", "storage", "ui")
KNOW_STORAGE = ("rlkv/worker/", "rlkv/job_control.py")
SOURCES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Modules that a file imports anywhere, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def forbidden(path: Path) -> set[str]:
    package = path.relative_to(ROOT).parts[0]
    if package == "storage":
        return {"rlkv", "ui", "torch", "transformers", "trl", "numpy", "gradio"}
    if package == "ui":
        return {"torch", "transformers", "trl", "sqlalchemy", "sqlite3"}
    if path.relative_to(ROOT).as_posix().startswith(KNOW_STORAGE):
        return {"gradio", "sqlalchemy", "ui"}
    return {"gradio", "sqlalchemy", "storage", "ui"}


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & forbidden(path)
