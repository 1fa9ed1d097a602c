"""How much memory the control groups of this process still allow (containers, SLURM, Spaces)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
UNLIMITED = 1 << 62


def room_in_cgroups(own: Path = OWN, root: Path = ROOT) -> int:
    """Bytes left under the tightest limit, version 1 or 2; `UNLIMITED` where there is none.

    File cache that can be dropped at any time counts as free, as it does for the kernel.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return UNLIMITED
    room = UNLIMITED
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            room = min(room, _tightest(root, path, "memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            room = min(room, _tightest(root / "memory", path, *names))
    return room


def _tightest(root: Path, path: str, limit: str, usage: str, droppable: str) -> int:
    """A limit binds all groups below, so each folder up to the root is looked at.

    Inside a container the path may name a group of the host that is not shown there; then the
    container's own root holds the limit.
    """
    folder = root / path.strip("/")
    room = UNLIMITED
    while True:
        room = min(room, _room(folder, limit, usage, droppable))
        if folder in (root, folder.parent):
            return room
        folder = folder.parent


def _room(folder: Path, limit: str, usage: str, droppable: str) -> int:
    try:
        text = (folder / limit).read_text().strip()
        if text == "max" or int(text) >= 1 << 60:
            return UNLIMITED
        used = int((folder / usage).read_text())
        stats = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return UNLIMITED
    cache = next((int(s.split()[1]) for s in stats if s.split()[0] == droppable), 0)
    return max(int(text) - used + cache, 0)
