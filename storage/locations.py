"""Where the app keeps its data. Knows folders and their rights, nothing of what is inside."""

import os
import sys
import tempfile
from pathlib import Path

from storage.errors import StorageError

VARIABLE = "RLKV_DATA_DIR"
APP_FOLDER = "rlkv-studio"


def data_dir() -> Path:
    """The data folder: ``$RLKV_DATA_DIR``, or a folder of this user. Made if it is not there.

    Raises:
        StorageError: the folder cannot be made or written to.
    """
    chosen = os.environ.get(VARIABLE)
    return private_folder(Path(chosen).expanduser() if chosen else _user_folder())


def private_folder(folder: Path) -> Path:
    """``folder`` as an absolute path, made for this user alone (mode 700) if it is new.

    Raises:
        StorageError: it cannot be made or written to.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Rights may say yes where a read-only disk says no, so write something.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"Cannot write to the data folder {folder} ({error.strerror}). "
            f"Free some space, change its rights, or set {VARIABLE} to a folder you own."
        ) from error
    return folder


def _user_folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / APP_FOLDER
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / APP_FOLDER
    shared = os.environ.get("XDG_DATA_HOME")
    return (Path(shared) if shared else Path.home() / ".local" / "share") / APP_FOLDER
