"""The whole app on a machine whose memory can be filled: none is free while FOLDER/full is there.

python -m tests.browser.full_machine PORT FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from rlkv import headroom
from ui.__main__ import serve

FULL = "full"


def fill(folder: Path) -> None:
    """Has whoever asks find no free memory."""
    really_free = headroom.free_bytes

    def free_bytes(device: str = "cpu") -> int:
        return 0 if (folder / FULL).exists() else really_free(device)

    headroom.free_bytes = free_bytes


if __name__ == "__main__":
    fill(Path(sys.argv[2]))
    serve("127.0.0.1", int(sys.argv[1]), Path(sys.argv[2]))
