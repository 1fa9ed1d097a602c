"""What CI fails on: the tests, and packages with known faults; not a network that is not there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent
FAULT = "echo 'Found 2 known vulnerabilities in 1 package' >&2; exit 1"
NO_NETWORK = "echo 'Failed to establish a new connection' >&2; exit 1"


@pytest.mark.parametrize(
    ("test", "audit", "passes"),
    [
        ("exit 0", "echo 'No known vulnerabilities found' >&2", True),
        ("exit 0", NO_NETWORK, True),
        ("exit 0", FAULT, False),
        ("exit 1", "exit 0", False),
    ],
)
def test_what_fails_it(tmp_path: Path, test: str, audit: str, passes: bool) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "scripts" / "test").write_text(f'[ "$1" = --slow ] || exit 9\n{test}\n')
    (tmp_path / "scripts" / "audit").write_text(audit + "\n")
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == passes, done.stderr
    assert ("could not be audited" in done.stderr) == (audit == NO_NETWORK)


def test_an_audit_tool_that_moved_with_its_folder_is_made_anew(tmp_path: Path) -> None:
    tool = tmp_path / ".venv" / "audit" / "bin"
    made = "#!/bin/sh\necho audited"
    scripts = {
        tool / "pip-audit": "#!/where/it/was/python\n",
        tool / "pip": f'#!/bin/sh\nprintf "%s\\n" "{made}" >"{tool}/pip-audit"\n',
        tmp_path / ".venv" / "bin" / "python": '#!/bin/sh\necho "$*" >>asked\n',
    }
    for path, text in scripts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "audit", tmp_path / "scripts" / "audit")
    (tmp_path / "scripts" / "setup").write_text("setup() { :; }\n")
    for _ in range(2):
        done = subprocess.run(
            ["bash", str(tmp_path / "scripts" / "audit")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "audited\n"
    assert (tmp_path / "asked").read_text().count("-m venv --clear") == 1


def test_newer_packages_are_proposed() -> None:
    found = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
    (update,) = found["updates"]
    assert update["package-ecosystem"] == "pip"
    assert (ROOT / update["directory"].lstrip("/") / "requirements.txt").is_file()
