import os
import stat
import sys
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.locations import data_dir, private_folder


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
