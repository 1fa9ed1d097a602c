"""A Space on this machine: the repository as it is pushed, read-only, with a Space's environment.

What differs from a real one: the network, the proxy in front of it, and the container around it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.processes import start_time
from tests.browser.conftest import ROOT
from tests.processes.stage import supervisors

SPACE_ID = "someone/rlkv-studio"
# Root may write everywhere; without its capabilities the rights of files hold for it as well.
PLAIN = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
START_SECONDS = 120


def checkout(folder: Path) -> Path:
    """What git would push, copied and made read-only."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    return folder


def writable_again(folder: Path) -> None:
    """So that it can be removed."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


class Space:
    """One life of the Space: its disk is empty at first and lost at the end; the bucket stays."""

    def __init__(
        self,
        code: Path,
        bucket: Path,
        disk: Path,
        port: int,
        *,
        home: bool = False,
        **environment: str,
    ) -> None:
        self.code, self.bucket, self.disk = code, bucket, disk
        self.home = disk / "home" if home else None
        """Empty at first and writable, or none that could be made."""
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**self._environment(), **environment}
        self.app: subprocess.Popen[bytes] | None = None
        self.began = 0.0
        disk.mkdir()
        if self.home:
            self.home.mkdir()

    @property
    def data(self) -> Path:
        """The data folder that the app has to choose."""
        if self.home:
            return self.home / ".local" / "share" / "rlkv-studio"
        return self.disk / f"rlkv-studio-{os.getuid()}"

    def start(self) -> None:
        """Returns as soon as it answers."""
        self.began = time.monotonic()
        with (self.disk / "log.txt").open("wb") as log:
            self.app = subprocess.Popen(
                [*PLAIN, sys.executable, "app.py"],
                cwd=self.code, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        while time.monotonic() - self.began < START_SECONDS:
            assert self.app.poll() is None, self.log
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"no answer within {START_SECONDS} s\n{self.log}")

    @property
    def log(self) -> str:
        return (self.disk / "log.txt").read_text()

    def run(self, program: str) -> subprocess.CompletedProcess[str]:
        """A program with the same rights and environment."""
        return subprocess.run(
            [*PLAIN, sys.executable, "-c", program],
            cwd=self.code, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def terminate(self, seconds: float = 60) -> int:
        """As a Space is ended: SIGTERM. Its exit code; what it started dies with the container."""
        assert self.app is not None
        self.app.send_signal(signal.SIGTERM)
        code = self.app.wait(seconds)
        self._sweep()
        return code

    def close(self) -> None:
        if self.app is not None and self.app.poll() is None:
            self.app.kill()
            self.app.wait()
        self._sweep()

    def _sweep(self) -> None:
        for process in supervisors(self.data):
            process.kill()
            end = time.monotonic() + 20
            while start_time(process.pid) is not None and time.monotonic() < end:
                time.sleep(0.02)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home or "/dev/null/home"),  # which is neither there nor to be made
            "TMPDIR": str(self.disk),
            "RLKV_SNAPSHOT_DIR": str(self.bucket),
            "SPACE_ID": SPACE_ID,
            "SPACE_HOST": "someone-rlkv-studio.hf.space",
            "SPACE_AUTHOR_NAME": "someone",
            "SYSTEM": "spaces",
            "ACCELERATOR": "none",
            "CPU_CORES": "2",
            "MEMORY": "16Gi",
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(self.code),
            "GRADIO_ALLOW_FLAGGING": "never",
            "GRADIO_NUM_PORTS": "1",
            "GRADIO_SERVER_NAME": "0.0.0.0",
            "GRADIO_SERVER_PORT": str(self.port),
            "GRADIO_SSR_MODE": "True",
            "GRADIO_THEME": "huggingface",
            "OAUTH_CLIENT_ID": "id",
            "OAUTH_CLIENT_SECRET": "secret",
            "OAUTH_SCOPES": "openid profile contribute-repos",
            "OPENID_PROVIDER_URL": "http://127.0.0.1:9",
            "OMP_NUM_THREADS": "1",
        }


@contextmanager
def world() -> Iterator[tuple[Path, Path, Path]]:
    """Code, bucket, and a folder for disks."""
    with tempfile.TemporaryDirectory(prefix="rlkv-space-") as name:
        root = Path(name)
        for part in ("code", "bucket", "disks"):
            (root / part).mkdir()
        checkout(root / "code")
        try:
            yield root / "code", root / "bucket", root / "disks"
        finally:
            writable_again(root / "code")
