"""The Hub's Jobs, of one process: takes a job, really runs its command here, serves its log.

In place of a container there is a bare folder and an environment with nothing of ours in it; in
place of installing the requirements, this Python. For tests only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.rlkv.hub_stand_in import HubStandIn, nothing

TOKEN = "hf_standInTokenThatMustNotShowAnywhere"


@dataclass
class StandInJob:
    """One job: what was asked, and the process that does it."""

    spec: dict[str, Any]
    folder: Path
    process: subprocess.Popen[bytes]
    canceled: bool = False

    def stage(self) -> str:
        code = self.process.poll()
        if self.canceled:
            return "CANCELED"
        return "RUNNING" if code is None else "COMPLETED" if code == 0 else "ERROR"

    def lines(self) -> Iterator[str]:
        """Its output from the beginning, until it ends."""
        with (self.folder / "output.txt").open("rb") as output:
            rest = b""
            while True:
                ended = self.process.poll() is not None
                data = output.read()
                *whole, rest = (rest + data).split(b"\n")
                yield from (line.decode() for line in whole)
                if ended and not data:
                    return
                time.sleep(0.05)


@dataclass
class Cloud:
    """What the stand-in holds."""

    folder: Path
    url: str = ""
    jobs: dict[str, StandInJob] = field(default_factory=dict)
    before: str = ""
    """Python put in front of every job's command."""
    refusal: tuple[int, str] | None = None
    """The status and the words that every question is answered with."""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """The newest files of each repository."""

    def start(self, spec: dict[str, Any]) -> str:
        name = f"job{len(self.jobs)}"
        folder = self.folder / name
        folder.mkdir(parents=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
            "RLKV_INSTALLED": "1",
            **spec["environment"],
            **spec.get("secrets", {}),
        }
        python, flag, code = spec["command"]
        assert (python, flag) == ("python", "-c")
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", self.before + code],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.jobs[name] = StandInJob(spec, folder, process)
        return name

    def close(self) -> None:
        for job in self.jobs.values():
            job.process.kill()
            job.process.wait()


class JobsStandIn(HubStandIn):
    """The part of the Hub's API that a Hugging Face Job needs."""

    cloud: Cloud

    def do_POST(self) -> None:
        if self._may() and (match := re.fullmatch(r"/api/jobs/user(?:/(\w+)/cancel)?", self.path)):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if match[1]:
                self.cloud.jobs[match[1]].canceled = True
                self.cloud.jobs[match[1]].process.kill()
                return self._json({})
            return self._json(self._info(self.cloud.start(json.loads(body))))
        if match := re.fullmatch(r"/api/datasets/(.+)/commit/main", self.path):
            return self._commit(match[1], self.rfile.read(int(self.headers["Content-Length"])))
        return super().do_POST()

    def do_GET(self) -> None:
        if self.cloud.refusal is not None:
            return self._json({"error": self.cloud.refusal[1]}, self.cloud.refusal[0])
        if not self._may():
            return self._json({"error": "Invalid username or password."}, 401)
        if self.path == "/api/whoami-v2":
            return self._json({"name": "user", "type": "user"})
        if match := re.fullmatch(r"/api/jobs/user\?label=rlkv-job%3D(\w+)", self.path):
            named = [n for n, j in self.cloud.jobs.items() if match[1] in str(j.spec["labels"])]
            return self._json([self._info(name) for name in named])
        if match := re.fullmatch(r"/api/jobs/user/(\w+)(/logs)?", self.path):
            return self._log(match[1]) if match[2] else self._json(self._info(match[1]))
        if self.path.startswith("/datasets/"):
            self.path = self.path.removeprefix("/datasets")
        return super().do_GET()

    def _may(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _info(self, name: str) -> dict[str, Any]:
        job = self.cloud.jobs[name]
        return {
            "id": name,
            "createdAt": "2026-01-01T00:00:00.000Z",
            "owner": {"id": "1", "name": "user", "type": "user"},
            "status": {"stage": job.stage()},
            "labels": job.spec.get("labels"),
        }

    def _log(self, name: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self._event("===== Job started at 2026-01-01 00:00:00 =====")
            for line in self.cloud.jobs[name].lines():
                self._event(line)
        except BrokenPipeError:  # who followed was killed
            return

    def _event(self, line: str) -> None:
        event = {"data": line, "timestamp": "2026-01-01T00:00:00.000Z"}
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """Runs the stand-in."""
    made = Cloud(folder)
    handler = type("Handler", (JobsStandIn,), {**nothing(), "cloud": made, "repos": made.repos})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        server.shutdown()
        thread.join()
        server.server_close()
