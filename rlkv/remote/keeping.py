"""Keeps a Hugging Face Job's newest checkpoint in the user's private repository.

A job's disk is gone when it ends, by its time limit too. So its problem pool, newest checkpoint and
removed heads are copied to a folder of the repository that also holds the source, and the next job
of the same row begins with them. Not kept: answers of a sampling that has not ended.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from huggingface_hub import HfApi, snapshot_download

from rlkv.errors import UserError
from rlkv.training import checkpoint, removed_heads, rows

EVERY_S = 300.0
"""Between two copies: each is a commit, and the Hub allows only so many an hour."""
LOOK_S = 2.0
LAST_S = 60.0
"""How long the end of a job waits for a copy under way."""
FOLDER = "checkpoints"
"""Folder of the repository with a folder for each row."""
POOL = "pool.json"

State = tuple[bool, int, int]
"""What a job's folder holds: the pool, the step of a checkpoint, bytes about removed heads."""
NOTHING: State = (False, 0, 0)


def fetch(place: str, folder: Path) -> None:
    """Puts what an earlier job left at `place` ("REPOSITORY#ROW") into a job's empty folder.

    Raises:
        UserError: if the Hub can't be asked: to begin anew unasked would be paid for.
    """
    repo, row = place.split("#")
    with tempfile.TemporaryDirectory() as temporary:
        try:
            snapshot_download(
                repo,
                repo_type="dataset",
                allow_patterns=f"{FOLDER}/{row}/*",
                local_dir=temporary,
            )
        except Exception as error:
            raise UserError(
                f"The kept checkpoint could not be fetched ({type(error).__name__}): press Resume "
                "to try again."
            ) from error
        kept = Path(temporary) / FOLDER / row
        if kept.is_dir():
            shutil.copytree(kept, folder, dirs_exist_ok=True)


class Keeper:
    """Copies a job's state while it runs, from a thread: a slow Hub must not hold up a step."""

    def __init__(self, place: str, folder: Path, event: Callable[[str], None]) -> None:
        self._repo, row = place.split("#")
        self._path, self._folder, self._event = f"{FOLDER}/{row}", folder, event
        self._kept = state(folder)  # what was fetched
        self._tried, self._trouble = -EVERY_S, ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """After a failure keeps the newest state, after a whole training removes it."""
        self._closed.set()
        self._thread.join(LAST_S)
        if self._thread.is_alive():
            return
        if kind is not None:
            self._copy_news()
        elif self._kept != NOTHING:
            self._try("removed", self._remove)

    def _keep(self) -> None:
        while not self._closed.wait(LOOK_S):
            if time.monotonic() - self._tried >= EVERY_S:
                self._copy_news()

    def _try(self, what: str, act: Callable[[], object]) -> None:
        self._tried = time.monotonic()
        try:
            act()
        except Exception as error:  # never the end of a training
            trouble = f"The checkpoint could not be {what} on the Hub ({type(error).__name__})"
            if trouble != self._trouble:
                self._event(trouble)
            self._trouble = trouble
        else:
            self._trouble = ""

    def _copy_news(self) -> None:
        if state(self._folder) != self._kept:
            self._try("kept", self._copy)

    def _copy(self) -> None:
        # From a copy: the trainer removes old checkpoints, and an upload can outlast several.
        with tempfile.TemporaryDirectory() as temporary:
            taken = Path(temporary)
            take(self._folder, taken)
            now = state(taken)
            HfApi().upload_folder(
                repo_id=self._repo,
                repo_type="dataset",
                folder_path=taken,
                path_in_repo=self._path,
                delete_patterns="checkpoint-*",  # older ones
                commit_message=f"Checkpoint of step {now[1]}" if now[1] else "Problem pool",
            )
            self._kept = now

    def _remove(self) -> None:
        HfApi().delete_folder(self._path, self._repo, repo_type="dataset",
                              commit_message="Trained to the end")  # fmt: skip


def take(folder: Path, to: Path) -> None:
    """Copies what is worth keeping of a job's folder, whole, while the job writes there."""
    for name in (POOL, removed_heads.FILE, rows.FILE):
        if (folder / name).is_file():
            shutil.copy2(folder / name, to)
    while newest := checkpoint.latest(folder):
        copy = to / newest[0].name
        try:
            shutil.copytree(newest[0], copy)
        except (OSError, shutil.Error):
            if checkpoint.latest(folder) == newest:
                raise
        # The trainer removes none before there is a newer one: so this one is whole.
        if checkpoint.latest(folder) == newest:
            return
        shutil.rmtree(copy, ignore_errors=True)


def state(folder: Path) -> State:
    """What is worth keeping of a job's folder."""
    newest = checkpoint.latest(folder)
    removed = folder / removed_heads.FILE
    size = removed.stat().st_size if removed.is_file() else 0
    return (folder / POOL).is_file(), newest[1] if newest else 0, size
