"""The recipes of docs/extending.md, followed in a copy of the repository.

A code block whose first line names a file (```python rlkv/tasks/sums.py) is that file; a diff block
changes one: its lines without + stand there exactly once, and become those without -.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "extending.md"
COPIED = ("rlkv", "storage", "ui", "tests", "docs")


def follow(folder: Path) -> tuple[list[Path], list[Path]]:
    """Copies the repository and does all that the page says; returns new and changed files."""
    for name in COPIED:
        ignore = shutil.ignore_patterns("__pycache__", "images")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("app.py", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "examples").symlink_to(ROOT / "examples")
    text = PAGE.read_text()
    new, edited = [], []
    for language, name, block in re.findall(r"```(python|diff) (\S+)\n(.*?)```", text, re.DOTALL):
        path = folder / name
        if language == "python":
            assert not path.exists(), f"{name} is there already"
            path.write_text(block)
            new.append(path)
        else:
            path.write_text(changed(path.read_text(), block, name))
            edited.append(path)
    return new, edited


def changed(text: str, block: str, name: str) -> str:
    """The text after a diff block."""
    lines = block.splitlines(keepends=True)
    assert {line[0] for line in lines} <= set(" +-\n"), f"no diff of {name}: {block}"
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"{name} has not exactly one place with:\n{before}"
    return text.replace(before, after)


def commands(heading: str) -> list[str]:
    """The command lines of one recipe."""
    part = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"```bash\n(.*?)```", part, re.DOTALL)
    return [line for block in found for line in block.splitlines()]
