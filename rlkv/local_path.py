"""Whether a model's reference names something on this machine's disk."""

from __future__ import annotations

from pathlib import Path


def local_path(ref: str) -> Path | None:
    """The file or folder that a reference names; None if there is none, or it can't be a path."""
    if not ref.strip():
        return None  # the path of no text would be the current folder
    try:
        path = Path(ref).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, an unknown home, a NUL
        return None
