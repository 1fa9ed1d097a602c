"""How much memory the control groups of this process still allow (containers, SLURM, Spaces)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
UNLIMITED = 1 << 62


class _Names(NamedTuple):
    """Files of a control group and the line of its statistics that counts droppable cache."""

    limit: str
    usage: str
    droppable: str


_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")


def room_in_cgroups(own: Path = OWN, root: Path = ROOT) -> int:
    """Bytes left under the tightest limit, version 1 or 2; `UNLIMITED` where there is none.

    File cache that can be dropped at any time counts as free, as it does for the kernel.
    """
    return min((_room(folder, names) for folder, names in _groups(own, root)), default=UNLIMITED)


def limit_of_cgroups(own: Path = OWN, root: Path = ROOT) -> int:
    """The lowest limit in bytes, used or not; `UNLIMITED` where there is none."""
    return min((_limit(folder, names) for folder, names in _groups(own, root)), default=UNLIMITED)


def _groups(own: Path, root: Path) -> Iterator[tuple[Path, _Names]]:
    """The groups that bind this process: a limit binds all groups below it.

    Inside a container the path may name a group of the host that is not shown there; then the
    container's own root holds the limit.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = root, _VERSION_2
        elif "memory" in controllers.split(","):
            top, names = root / "memory", _VERSION_1
        else:
            continue
        folder = top / path.strip("/")
        yield folder, names
        while folder not in (top, folder.parent):
            folder = folder.parent
            yield folder, names


def _limit(folder: Path, names: _Names) -> int:
    try:
        text = (folder / names.limit).read_text().strip()
        return UNLIMITED if text == "max" or int(text) >= 1 << 60 else int(text)
    except (OSError, ValueError):
        return UNLIMITED


def _room(folder: Path, names: _Names) -> int:
    limit = _limit(folder, names)
    if limit == UNLIMITED:
        return UNLIMITED
    try:
        used = int((folder / names.usage).read_text())
        stats = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return UNLIMITED
    cache = next((int(s.split()[1]) for s in stats if s.split()[0] == names.droppable), 0)
    return max(limit - used + cache, 0)
