"""Files and functions stay short enough to be read at one go; what may be longer says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = ("rlkv", "storage", "ui", "examples", "scripts")
SOURCES = sorted([ROOT / "app.py", *(p for name in PLACES for p in (ROOT / name).rglob("*.py"))])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE, BODY, WHOLE = 300, 40, 60
"""Lines of a file, of a function's body, and of a function with its signature and docstring."""
LONG_FILES = {
    "rlkv/dialogue/run.py": "one side of a conversation, whose methods share its whole state",
    "rlkv/masks.py": "one class that others rely on, half of it docstrings",
    "rlkv/training/config.py": "every setting of a training, some lines each",
    "tests/browser/test_chat.py": "answers on the real page, each followed through to its end",
    "tests/browser/test_editing.py": "one editor, opened with the same mask for every test",
    "tests/browser/test_widgets.py": "one app that shows all widgets, started once",
    "tests/rlkv/baselines/test_dropping.py": "two caches held against one written-out reference",
    "tests/rlkv/hub_stand_in.py": "one server, whose answers share its repositories",
    "tests/ui/test_visitors.py": "one shared copy with two visitors in it, started once",
}
LONG_FUNCTIONS = {
    ("storage/migrations/m001_to_m004.py", "m001_initial"): "a table list in SQL; never changes",
    ("ui/chat/fields.py", "wire_fields"): "which event calls what, one statement each",
    ("ui/components/tokens.py", "tokens_value"): "17 options of one value, each with its line",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def long_functions(text: str) -> Iterator[str]:
    """Functions with too long a body, or too long in all."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            first, last = (body or node.body)[0].lineno, node.end_lineno or 0
            if last - first >= BODY or last - node.lineno >= WHOLE:
                yield node.name


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 200
    assert len(TESTS) > 200


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=name_of)
def test_files_stay_short(path: Path) -> None:
    assert (len(path.read_text().splitlines()) > FILE) == (name_of(path) in LONG_FILES)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_stay_short(path: Path) -> None:
    allowed = {function for file, function in LONG_FUNCTIONS if file == name_of(path)}
    assert set(long_functions(path.read_text())) == allowed


@pytest.mark.parametrize(
    ("lines", "long"),
    [
        (['    """Says."""', *["    x = 1"] * BODY], False),
        (['    """Says."""', *["    x = 1"] * (BODY + 1)], True),
        (['    """Says.', *[""] * (WHOLE - 4), '    """', "    x = 1"], False),
        (['    """Says.', *[""] * (WHOLE - 3), '    """', "    x = 1"], True),
    ],
)
def test_lines_are_counted(lines: list[str], long: bool) -> None:
    assert list(long_functions("\n".join(["def f():", *lines]))) == (["f"] if long else [])
