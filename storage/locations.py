"""Where the app keeps its data. Knows folders and their rights, nothing of what is inside.

On a Space the home folder may be missing and the disk is empty after every restart. A bucket, if
there is one, is mounted at `/data`; it has no file locks, so a database never lies there.
"""

import os
import sys
import tempfile
from pathlib import Path

from storage.errors import StorageError

VARIABLE = "RLKV_DATA_DIR"
SNAPSHOTS = "RLKV_SNAPSHOT_DIR"
APP_FOLDER = "rlkv-studio"
BUCKET = Path("/data")
"""Where a Space mounts its bucket."""


def data_dir() -> Path:
    """The data folder: ``$RLKV_DATA_DIR``, or a folder of this user. Made if it is not there.

    On a Space whose home folder can't be used, one in the system's folder for temporary files.

    Raises:
        StorageError: the folder cannot be made or written to, or lies on a Space's bucket.
    """
    chosen = os.environ.get(VARIABLE)
    folder = Path(chosen).expanduser() if chosen else None
    if not on_space():
        return private_folder(folder or _user_folder())
    if folder is None:
        return _local_folder()
    if _on_bucket(folder):
        raise StorageError(
            f"{VARIABLE} is {folder}, on the Space's bucket, where a database gets damaged. "
            f"Unset it; snapshots go to the bucket by themselves, or where {SNAPSHOTS} says."
        )
    return private_folder(folder)


def snapshot_dir() -> Path | None:
    """Where copies of the database go: ``$RLKV_SNAPSHOT_DIR``, or `snapshots` on a Space's bucket.

    None where there is neither, or where the variable is "off".
    """
    chosen = os.environ.get(SNAPSHOTS)
    if chosen:
        return None if chosen == "off" else Path(chosen).expanduser().absolute()
    return BUCKET / "snapshots" if on_space() and is_writable(BUCKET) else None


def on_space() -> bool:
    """Whether this is a Space of the Hugging Face Hub."""
    return bool(os.environ.get("SPACE_ID"))


def is_writable(folder: Path) -> bool:
    """Whether it is a folder in which files can be made."""
    # Rights may say yes where a read-only disk says no, so write something.
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


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


def _local_folder() -> Path:
    """A folder on the machine's own disk, for a Space."""
    try:
        home = _user_folder()
        if not _on_bucket(home):
            return private_folder(home)
    except (StorageError, RuntimeError):  # no home, or one that can't be written to
        pass
    folder = Path(tempfile.gettempdir()) / f"{APP_FOLDER}-{os.getuid()}"
    made = private_folder(folder)
    # Everybody may make folders there: this one must be ours, and nobody else's to read.
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise StorageError(f"{folder} belongs to somebody else: set {VARIABLE} to another folder.")
    folder.chmod(0o700)
    return made


def _on_bucket(folder: Path) -> bool:
    return folder.absolute().resolve().is_relative_to(BUCKET)


def _user_folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / APP_FOLDER
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / APP_FOLDER
    shared = os.environ.get("XDG_DATA_HOME")
    return (Path(shared) if shared else Path.home() / ".local" / "share") / APP_FOLDER
