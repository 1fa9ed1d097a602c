"""A Hub of one process: creates repositories, takes commits, serves files. For tests only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


class HubStandIn(BaseHTTPRequestHandler):
    """Speaks the part of the Hub's HTTP API that a mask and a data set need."""

    repos: dict[str, dict[str, bytes]]
    commits: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'user'}/{asked['name'].split('/')[-1]}"
            self.repos.setdefault(repo, {})
            return self._json({"url": f"http://{self.headers['Host']}/{repo}", "id": repo})
        if self.path == "/api/validate-yaml":
            return self._json({"warnings": [], "errors": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self._json({"files": modes})
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            return self._commit(match[1], body)
        return self._json({"error": "not found"}, 404)

    def _commit(self, repo: str, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                data = base64.b64decode(entry["value"]["content"])
                self.repos[repo][entry["value"]["path"]] = data
            elif entry["key"] == "header":
                self.commits.append(entry["value"]["summary"])
        url = f"http://{self.headers['Host']}/{repo}/commit/{COMMIT}"
        self._json({"commitUrl": url, "commitOid": COMMIT, "pullRequestUrl": None})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        about = r"/api/(?:models|datasets)/([^/]+/[^/?]+)(/revision/\w+)?(\?.*)?"
        if match := re.fullmatch(about, self.path):
            files = self.repos.get(match[1])
            if files is None:
                return self._json({"error": "Repository not found"}, 404)
            siblings = [{"rfilename": name} for name in files]
            return self._json({"id": match[1], "sha": COMMIT, "siblings": siblings})
        if match := re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/tree/.*", self.path):
            return self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in self.repos[match[1]].items()
                ]
            )
        if match := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/\w+/(.+)", self.path):
            data = self.repos.get(match[1], {}).get(match[2])
            if data is not None:
                return self._bytes(data)
        return self._json({"error": "Entry not found"}, 404)

    def _json(self, value: Any, status: int = 200) -> None:
        headers = {} if status == 200 else {"X-Error-Code": "RepoNotFound"}
        self._bytes(json.dumps(value).encode(), status, headers)

    def _bytes(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def hub() -> Iterator[tuple[str, type[HubStandIn]]]:
    """Runs the stand-in; gives its address and the handler class that holds the repositories."""
    handler = type("Handler", (HubStandIn,), {"repos": {}, "commits": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
