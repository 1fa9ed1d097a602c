"""Room for what is kept, and for models of the Hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from rlkv.checks import Check
from rlkv.headroom import gigabytes

LEAST_BYTES = 500_000_000
"""Less than this does not hold the checkpoints and metrics of a long training."""
ROOMY_BYTES = 5_000_000_000
"""A small model of the Hub has this much."""
LEAST_FILES = 1000


def data_disk(folder: Path | None = None) -> Check:
    """The disk that the data folder is on."""
    from rlkv.worker.data import data_folder

    place = existing(data_folder() if folder is None else folder)
    free = shutil.disk_usage(place).free
    detail = f"{gigabytes(free)} free for {place}"
    if free < LEAST_BYTES:
        advice = (
            f"Free at least {gigabytes(LEAST_BYTES)} there, or set RLKV_DATA_DIR to a folder on "
            "another disk."
        )
        return Check("disk", False, detail, advice)
    if (files := free_files(place)) is not None and files < LEAST_FILES:
        detail = f"room for {files} more files only in {place}"
        return Check("disk", False, detail, "Delete files there that nobody needs.")
    advice = "" if free >= ROOMY_BYTES else "Enough for the embedded model; larger ones need more."
    return Check("disk", True, detail, advice)


def model_cache(folder: Path | None = None, offline: bool | None = None) -> Check:
    """Where models of the Hub are kept: its size, and whether more can be put there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE) if folder is None else folder
    off = os.environ.get("RLKV_OFFLINE") == "1" if offline is None else offline
    size = size_of(place)
    detail = f"{place}, " + ("empty" if size == 0 else gigabytes(size))
    if off:
        return Check("model cache", True, f"{detail} (offline: RLKV_OFFLINE=1)")
    if why := why_not_writable(existing(place)):
        advice = (
            "Models of the Hub can't be kept there. Change its rights, set HF_HOME to a folder of "
            "yours, or set RLKV_OFFLINE=1 to use only what is there."
        )
        return Check("model cache", False, f"{detail}: {why}", advice)
    return Check("model cache", True, detail)


def existing(place: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next((one for one in (place, *place.parents) if one.exists()), Path.cwd())


def why_not_writable(folder: Path) -> str:
    """Why nothing can be written into a folder; "" where it can. Rights may say yes where a
    read-only disk says no, so something is written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder; links are not followed."""
    total = 0
    for here, _, files in os.walk(folder):
        for name in files:
            try:
                status = os.lstat(Path(here) / name)
            except OSError:  # deleted meanwhile
                continue
            total += status.st_size
    return total


def free_files(folder: Path) -> int | None:
    """How many more files the disk takes; None where it has no such limit."""
    if not hasattr(os, "statvfs"):
        return None
    status = os.statvfs(folder)
    return status.f_favail if status.f_files else None
