"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from pathlib import Path
from rlkv.files import write_whole
write_whole(Path(sys.argv[1]), "50 % \\u2265 \\u00bd")
"""


def test_what_is_written_is_the_same_in_every_language(tmp_path: Path) -> None:
    """As under cron, or in a container without a locale."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", CODE, str(tmp_path / "a.txt")]
    subprocess.run(command, env=os.environ | plain, check=True)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "50 % \u2265 \u00bd"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
