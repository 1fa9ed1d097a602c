import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from storage import locations
from storage.errors import StorageError
from storage.locations import data_dir, private_folder, snapshot_dir


def test_the_variable_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKV_DATA_DIR", str(tmp_path / "a" / "b"))

    assert data_dir() == tmp_path / "a" / "b"
    assert stat.S_IMODE(data_dir().stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="XDG folders are Linux's")
def test_without_it_a_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RLKV_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_dir() == tmp_path / "rlkv-studio"

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_dir() == tmp_path / ".local" / "share" / "rlkv-studio"


def test_a_file_in_the_way_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(StorageError, match="set RLKV_DATA_DIR"):
        private_folder(tmp_path / "data")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_rights_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(StorageError, match="Cannot write"):
        private_folder(tmp_path)
    tmp_path.chmod(0o700)


def test_a_relative_path_does_not_depend_on_the_folder_of_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert private_folder(Path("data")) == tmp_path / "data"


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As on a Space: a bucket, a home folder, a folder for temporary files; nothing chosen."""
    for name in ("bucket", "home", "tmp"):
        (tmp_path / name).mkdir()
    for name in ("RLKV_DATA_DIR", "RLKV_SNAPSHOT_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(locations, "BUCKET", tmp_path / "bucket")
    return tmp_path


def test_a_space_keeps_its_data_at_home(space: Path) -> None:
    assert data_dir() == space / "home" / ".local" / "share" / "rlkv-studio"


@pytest.mark.parametrize("home", ["", "missing/under-a-file", "bucket/home"])
def test_a_space_without_a_home_keeps_it_with_temporary_files_for_itself(
    space: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (space / "missing").touch()
    if home:
        monkeypatch.setenv("HOME", str(space / home))
    else:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(Path, "home", _no_home)
    folder = data_dir()
    assert folder == space / "tmp" / f"rlkv-studio-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_space_takes_no_folder_that_somebody_else_made(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(space / "bucket"))
    (space / "elsewhere").mkdir()
    (space / "tmp" / f"rlkv-studio-{os.getuid()}").symlink_to(space / "elsewhere")
    with pytest.raises(StorageError, match="belongs to somebody else"):
        data_dir()


def test_a_folder_with_temporary_files_is_closed_to_others(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(space / "bucket"))
    folder = space / "tmp" / f"rlkv-studio-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    assert data_dir() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_to_the_bucket_is_the_bucket(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (space / "link").symlink_to(space / "bucket")
    monkeypatch.setenv("RLKV_DATA_DIR", str(space / "link" / "data"))
    with pytest.raises(StorageError, match="on the Space's bucket"):
        data_dir()


def test_a_database_is_never_on_the_bucket(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKV_DATA_DIR", str(space / "bucket" / "data"))
    with pytest.raises(StorageError, match="on the Space's bucket"):
        data_dir()
    monkeypatch.delenv("SPACE_ID")  # a folder of one's own that happens to have this name
    assert data_dir() == space / "bucket" / "data"


def test_snapshots_go_to_the_bucket_of_a_space(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert snapshot_dir() == space / "bucket" / "snapshots"
    monkeypatch.setenv("RLKV_SNAPSHOT_DIR", str(space / "there"))
    assert snapshot_dir() == space / "there"
    monkeypatch.setenv("RLKV_SNAPSHOT_DIR", "off")
    assert snapshot_dir() is None


def test_without_a_bucket_or_a_space_there_are_none(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locations, "BUCKET", space / "no-bucket")
    assert snapshot_dir() is None
    monkeypatch.undo()
    monkeypatch.delenv("RLKV_SNAPSHOT_DIR", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert snapshot_dir() is None
