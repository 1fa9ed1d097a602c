"""What `doctor` says of machines that are really in trouble."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from rlkv import doctor
from rlkv.checks import Check, disks, installed, network, stored
from rlkv.cli import main
from rlkv.errors import UserError
from storage.database import FILE_NAME, open_database
from storage.launching import ROOT
from tests.processes.test_full_disk import UNSHARE, may_mount


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture(autouse=True)
def _free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that the app would take, whatever runs on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(probe.getsockname()[1]))


def require_bad(check: Check, *words: str) -> None:
    """Something has to be done, and it is said what."""
    assert not check.ok, check
    for word in words:
        assert word in check.detail + check.advice, check


def test_a_good_machine_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["ok"]
    assert [one["name"] for one in told["checks"]] == [e.name for e in doctor.EXAMINATIONS]
    assert all(one["ok"] and one["detail"] for one in told["checks"])


def test_what_has_to_be_done_comes_last_and_sets_the_exit_code(
    capsys: pytest.CaptureFixture[str], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(port))
    assert main(["doctor"]) == 1
    *before, last = capsys.readouterr().out.splitlines()
    assert last == "To do: port."
    assert f"     Stop what uses it, or start the app with --port {port + 1}." in before


def test_a_damaged_database_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    open_database(folder).close()
    path = folder / FILE_NAME
    connection = sqlite3.connect(path)
    root, size = connection.execute(
        "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master"
        " WHERE name = 'jobs_by_state'"
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:  # one page of an index, in the middle of the file
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    monkeypatch.setenv("RLKV_DATA_DIR", str(folder))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BAD  database" in out
    assert "damaged" in out


def test_a_file_that_is_no_database_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"these are the words of a text file" * 200)
    monkeypatch.setenv("RLKV_DATA_DIR", str(tmp_path))
    one = next(e for e in doctor.EXAMINATIONS if e.name == "database")
    require_bad(doctor.made(one), "not a database", "set RLKV_DATA_DIR")


def on_a_small_disk(program: str, place: Path, options: str) -> dict[str, Any]:
    """Runs a program in a mount namespace of its own, where `place` is a disk of that kind."""
    place.mkdir()
    script = (
        "import json, subprocess, sys\n"
        "from dataclasses import asdict\nfrom pathlib import Path\n"
        "from rlkv.checks import disks, stored\n"
        "place = Path(sys.argv[1])\n"
        f"subprocess.run(['mount', '-t', 'tmpfs', '-o', {options!r}, 'tmpfs', place], check=True)\n"
        f"{program}\nprint(json.dumps(asdict(check)))"
    )
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", script, str(place)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(not may_mount(), reason="making a small disk needs the right to mount")
@pytest.mark.parametrize(
    ("program", "options", "words"),
    [
        ("check = disks.data_disk(place)", "size=4m", "another disk"),
        ("check = disks.data_disk(place)", "size=2g,nr_inodes=20", "more files only"),
        (
            "subprocess.run(['mount', '-o', 'remount,ro', place], check=True)\n"
            "check = disks.model_cache(place / 'hub', offline=False)",
            "size=4m",
            "set HF_HOME",
        ),
    ],
    ids=["full", "no more files", "read-only"],
)
def test_a_disk_in_trouble(tmp_path: Path, program: str, options: str, words: str) -> None:
    found = on_a_small_disk(program, tmp_path / "disk", options)
    assert not found["ok"], found
    assert words in found["detail"] + found["advice"]


@pytest.mark.skipif(not may_mount(), reason="making a small disk needs the right to mount")
def test_a_database_on_a_read_only_disk_is_told(tmp_path: Path) -> None:
    program = (
        "subprocess.run(['mount', '-o', 'remount,ro', place], check=True)\n"
        "from rlkv import doctor\n"
        "one = doctor.Examination('file system', lambda: stored.file_system(place, 'tmpfs'))\n"
        "check = doctor.made(one)"
    )
    found = on_a_small_disk(program, tmp_path / "disk", "size=4m")
    assert not found["ok"]
    assert "SQLite can't work in" in found["advice"]


def test_a_folder_without_rights_is_told_to_who_is_not_root(tmp_path: Path) -> None:
    if os.getuid() != 0:
        cache = tmp_path / "hub"
        cache.mkdir(mode=0o500)
        require_bad(disks.model_cache(cache, offline=False), "set HF_HOME")
        return
    # Root may write anywhere, so it is asked as another user, in a folder that this one reaches.
    place = Path(f"/tmp/rlkv-doctor-{os.getpid()}")
    place.mkdir(mode=0o755)
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom rlkv.checks import disks\n"
        "os.setuid(65534)\nprint(disks.why_not_writable(Path(sys.argv[1])))"
    )
    try:
        asked = [sys.executable, "-c", program, str(place)]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "Permission denied"
    finally:
        shutil.rmtree(place)


def test_room_and_size_are_told(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights").write_bytes(bytes(3_000_000))
    (tmp_path / "models" / "again").symlink_to(tmp_path / "models" / "weights")
    check = disks.model_cache(tmp_path, offline=False)
    assert check.ok
    assert check.detail.endswith(", 3 MB")
    assert disks.model_cache(tmp_path / "none" / "yet", offline=False).detail.endswith("empty")
    assert "offline" in disks.model_cache(tmp_path, offline=True).detail


@pytest.mark.parametrize(
    ("kind", "bad"),
    [("nfs4", True), ("cifs", True), ("smb3", True), ("9p", True), ("fuse.sshfs", True),
     ("fuse.hf-mount", True), ("ext4", False), ("overlay", False), ("tmpfs", False),
     ("apfs", False), ("fuse.fuse-overlayfs", False), ("", False)],
)  # fmt: skip
def test_network_file_systems_need_another_journal(
    tmp_path: Path, kind: str, bad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = stored.file_system(tmp_path, kind)
    assert check.ok != bad
    assert bool(check.advice) == bad
    monkeypatch.setenv("RLKV_JOURNAL_MODE", "DELETE")
    assert stored.file_system(tmp_path, kind).ok
    assert list(tmp_path.glob("doctor-*")) == []


def test_the_file_system_is_known() -> None:
    if sys.platform == "linux":
        assert stored.kind_of(Path("/proc/self")) == "proc"


def test_locks_that_do_not_hold_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a mounted bucket: SQLite is told not to lock at all."""
    connect = sqlite3.connect

    def lockless(path: Path, **options: Any) -> sqlite3.Connection:
        return connect(f"file:{path}?vfs=unix-none", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", lockless)
    with pytest.raises(UserError, match="SQLite can't work in"):
        stored.file_system(tmp_path, "ext4")


def test_an_old_sqlite_is_refused() -> None:
    require_bad(stored.sqlite((3, 36, 0)), "3.37 or newer")
    assert stored.sqlite((3, 37, 0)).ok


def test_an_old_python_is_refused() -> None:
    require_bad(installed.python((3, 10, 14)), "Python 3.11 or newer")
    assert installed.python((3, 11, 0)).ok


def test_packages_that_are_old_or_missing_are_named() -> None:
    good = installed.installed_versions([*installed.LIBRARY, *installed.APP])
    assert installed.packages(good) == Check("packages", True, installed.packages(good).detail)
    require_bad(installed.packages({**good, "torch": "2.7.1"}), "pip install 'torch>=2.8'")
    without = {k: v for k, v in good.items() if k != "transformers"}
    require_bad(installed.packages(without), "'transformers>=")
    library = {name: good[name] for name in installed.LIBRARY}
    assert installed.packages(library).ok
    assert "'gradio>=" in installed.packages(library).advice


def test_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(one) for one in project["dependencies"] + extras["train"] + extras["app"]]
    oldest = {one.name: re.findall(r">=([\d.]+)", str(one.specifier)) for one in wanted}
    for name, version in (installed.LIBRARY | installed.APP).items():
        assert oldest[name] == [version], name
    python = ".".join(map(str, installed.OLDEST_PYTHON))
    assert project["requires-python"] == f">={python}"


def test_without_the_apps_packages_the_library_is_ready() -> None:
    def absent() -> Check:
        raise ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")

    def broken() -> Check:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    def defect() -> Check:
        raise ZeroDivisionError("by zero")

    assert doctor.made(doctor.Examination("database", absent)).ok
    require_bad(doctor.made(doctor.Examination("device", broken)), "torch is not installed")
    require_bad(doctor.made(doctor.Examination("x", defect)), "ZeroDivisionError", "report it")


def test_a_driver_that_torch_does_not_use_is_told(tmp_path: Path) -> None:
    driver = tmp_path / "version"
    assert installed._unused_gpu("cpu", driver) == ""
    driver.touch()
    assert "build of torch with CUDA" in installed._unused_gpu("cpu", driver)
    assert installed._unused_gpu("cuda", driver) == ""


def test_code_that_would_not_be_contained_is_a_thing_to_do() -> None:
    assert installed.sandbox(0, allowed=False).ok
    require_bad(installed.sandbox(0, allowed=True), "unset RLKV_ALLOW_CODE")
    assert installed.sandbox(1, allowed=True).ok
    assert installed.sandbox().detail.endswith("; off")


def test_the_app_itself_on_the_port_is_no_trouble(port: int) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<title>RLKV Studio</title>")

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        check = network.port(server.server_port)
        server.shutdown()
    assert check == Check("port", True, f"{server.server_port}: the app is running there")
