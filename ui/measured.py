"""What was measured of all heads of a model: shipped with a mask, kept on disk, or made now.

Making it takes seconds on a small model, so it is made once for each model, task and window.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlkv.errors import UserError
from rlkv.explore.table import HeadTable
from rlkv.files import write_whole
from rlkv.masks import HeadMask
from rlkv.tasks import reads_a_file
from ui import catalogue, visitor, zero_gpu
from ui.heavy import heavy
from ui.studio import Studio

FILE = "heads.json"
"""Its name beside the files of a shipped mask."""
PROBLEMS = 16


def known(studio: Studio, entry: catalogue.Entry, model: str) -> HeadTable | None:
    """The measurements that are there already for a mask's window and task on a model."""
    if entry.folder is not None and model == entry.mask.model:
        shipped = _read(entry.folder / FILE)
        if shipped is not None and shipped.shape == entry.mask.shape:
            return shipped
    kept = _read(_path(studio, entry.mask, model))
    return kept if kept is not None and kept.shape == entry.mask.shape else None


def measure(studio: Studio, entry: catalogue.Entry, model: str) -> HeadTable:
    """Measures all heads on the loaded model and keeps what was found.

    Raises:
        UserError: whatever keeps the model from being measured.
    """
    with studio.lease(model) as loaded:
        table = _head_table(loaded, entry.mask, model)
    mask = entry.mask
    path = _path(studio, mask, model)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, json.dumps(table.to_record()))
    except OSError:
        pass  # a full disk: it is measured again next time
    _parsed.cache_clear()
    return table


def _head_table(loaded: tuple[Any, Any], mask: HeadMask, model: str) -> HeadTable:
    layout = heavy("rlkv.layout").layout_of(loaded[0])
    mask.require_shape(layout.shape[0], layout.shape[1], model)
    window = heavy("rlkv.streaming").StreamingWindow(mask.sink, mask.recent)
    table: HeadTable = zero_gpu.measure(
        model, loaded, "rlkv.explore.table:head_table", task_of(mask), window, n=PROBLEMS
    )
    return table


def task_of(mask: HeadMask) -> str:
    """The task that the mask was learned on; variable tracing where that is not known."""
    task = mask.info.get("task")
    if not isinstance(task, str) or not task:
        return "tracing"
    # Anybody may have written it: visitors of a shared copy must not have its files read.
    return "tracing" if reads_a_file(task) and visitor.is_shared() else task


def _path(studio: Studio, mask: HeadMask, model: str) -> Path:
    asked = json.dumps([model, task_of(mask), mask.sink, mask.recent, mask.shape])
    name = hashlib.sha256(asked.encode()).hexdigest()[:24]
    return studio.db.folder / "heads" / f"{name}.json"


def _read(path: Path) -> HeadTable | None:
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=16)
def _parsed(path: Path, _changed: int) -> HeadTable | None:
    try:
        return HeadTable.from_record(json.loads(path.read_text()))
    except (OSError, ValueError, UserError):
        return None
