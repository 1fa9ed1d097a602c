"""`scripts/setup`: what it says while packages are installed."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
PIP = """\
Collecting torch==2.13.0 (from -r requirements.txt (line 1))
  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (915.2 MB)
Collecting numpy>=2.4
  Using cached numpy-2.4.0-cp311-cp311-manylinux_2_28_x86_64.whl (16.9 MB)
Collecting filelock>=4
  Downloading filelock-4.3.1-py3-none-any.whl (244 kB)
Installing collected packages: torch, numpy, filelock
Successfully installed filelock-4.3.1 numpy-2.4.0 torch-2.13.0
"""


def test_it_names_the_large_packages_and_the_long_silence() -> None:
    command = ["bash", "-euo", "pipefail", "-c", ". scripts/setup; tell"]
    done = subprocess.run(command, input=PIP, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == [
        "  torch (915.2 MB)",
        "  numpy (16.9 MB)",
        "  Unpacking 3 packages; this can take a minute or two without a word ...",
    ]
