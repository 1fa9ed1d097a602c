"""A Hub of one process: creates repositories, takes commits, serves files. For tests only."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.rlkv.hub_files import is_in, large, mode_of, tags_of

COMMIT = "c" * 40
"""The commit of a repository that a test has filled by hand."""
ABOUT = re.compile(r"/api/(?:models|datasets)/([^/]+/[^/?]+)(?:/revision/([^/?]+))?(\?.*)?")
TREE = re.compile(r"/api/(?:models|datasets)/([^/]+/[^/]+)/tree/([^/?]+).*")
FILE = re.compile(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
BATCH = re.compile(r"/(.+)\.git/info/lfs/objects/batch")
BLOB = re.compile(r"/lfs/(.+)/([0-9a-f]{64})")
COMMITTING = re.compile(r"/api/models/(.+)/commit/main(?:\?.*)?")


class HubStandIn(BaseHTTPRequestHandler):
    """Speaks the part of the Hub's HTTP API that a mask and a data set need."""

    repos: dict[str, dict[str, bytes]]
    """The newest files of each repository."""
    commits: list[str]
    """Messages, in order."""
    history: dict[str, list[tuple[str, dict[str, bytes]]]]
    """(commit, files) of every commit that was pushed."""
    blobs: dict[str, bytes]
    """Large files by their SHA-256, uploaded before the commit that names them."""
    private: set[str]
    tokens: dict[str, str] | None = None
    """Owner of each token that is good; "reader" may not write. None: any token is the user's."""
    asked: list[tuple[str, str | None]]
    """(path, Authorization) of every request."""
    full: bool = False
    """Has no room for large files."""
    race: bool = False
    """Somebody else commits between our look and our commit."""
    moves: dict[str, dict[str, bytes]]
    """Files by repository: what a commit brings right after somebody has looked at it."""
    breaks: str = ""
    """The connection breaks in the middle of answers whose path ends with this."""
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    # --- who asks -------------------------------------------------------------------------

    def _owner(self) -> str | None:
        """Whose token it is; None without one, or with one that is not good."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.tokens is None:
            return "user"
        return self.tokens.get(token)

    def _known(self) -> bool:
        """Tells a wrong token from none, as the Hub does."""
        self.asked.append((self.path, self.headers.get("Authorization")))
        if self.headers.get("Authorization") and self._owner() is None:
            self._json({"error": "Invalid user token."}, 401)
            return False
        return True

    def _may_see(self, repo: str) -> bool:
        return repo in self.repos and (
            repo not in self.private or self._owner() == repo.partition("/")[0]
        )

    def _may_write(self, repo: str) -> bool:
        owner = self._owner()
        return owner != "reader" and (self.tokens is None or repo.partition("/")[0] == owner)

    # --- what is asked --------------------------------------------------------------------

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._known():
            return None
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self._json({"warnings": [], "errors": []})
        if "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": p, "uploadMode": mode_of(p), "shouldIgnore": False} for p in paths]
            return self._json({"files": modes})
        if match := BATCH.fullmatch(self.path):
            return self._batch(match[1], json.loads(body))
        if match := COMMITTING.fullmatch(self.path):
            return self._commit(match[1], body)
        return self._json({"error": "not found"}, 404)

    def _create(self, asked: dict[str, Any]) -> None:
        owner = self._owner()
        if owner is None:
            return self._json({"error": "Invalid username or password."}, 401)
        repo = f"{asked.get('organization') or owner}/{asked['name'].split('/')[-1]}"
        if not self._may_write(repo):
            return self._json({"error": "You don't have the rights to create this."}, 403)
        url = f"http://{self.headers['Host']}/{repo}"
        if repo in self.repos:
            return self._json({"error": "You already created this model repo", "url": url}, 409)
        self.repos[repo] = {".gitattributes": b""} if self.tokens is not None else {}
        if asked.get("private") or asked.get("visibility") == "private":
            self.private.add(repo)
        return self._json({"url": url, "id": repo})

    def _batch(self, repo: str, asked: dict[str, Any]) -> None:
        """Where to put large files; nowhere, for those that are here."""
        if not self._may_write(repo):
            return self._json({"error": "You don't have the rights to write here."}, 403)
        assert asked["operation"] == "upload"
        objects = []
        for one in asked["objects"]:
            href = f"http://{self.headers['Host']}/lfs/{repo}/{one['oid']}"
            actions = {} if one["oid"] in self.blobs else {"actions": {"upload": {"href": href}}}
            objects.append({"oid": one["oid"], "size": one["size"], **actions})
        return self._json({"transfer": "basic", "objects": objects})

    def do_PUT(self) -> None:
        """Takes one large file, without a token: the address that it is put to is the permit."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match = BLOB.fullmatch(self.path)
        if self.full:
            return self._json({"error": "No room."}, 413)
        if match is None or hashlib.sha256(body).hexdigest() != match[2]:
            return self._json({"error": "not what was announced"}, 400)
        self.blobs[match[2]] = body
        return self._json({})

    def _commit(self, repo: str, body: bytes) -> None:
        entries = [json.loads(line) for line in body.splitlines()]
        header = next(e["value"] for e in entries if e["key"] == "header")
        if self.race:
            self.race = type(self).race = False
            self._keep(repo, {**self.repos[repo], "theirs.txt": b"first"})
        if header.get("parentCommit") not in (None, self._head(repo)):
            return self._json({"error": "A commit has happened since. Please refresh."}, 412)
        files = {
            e["value"]["path"]: base64.b64decode(e["value"]["content"])
            for e in entries
            if e["key"] == "file"
        }
        gone = tuple(e["value"]["path"] for e in entries if e["key"].startswith("deleted"))
        left = {n: d for n, d in self.repos[repo].items() if not any(is_in(n, g) for g in gone)}
        for value in (e["value"] for e in entries if e["key"] == "lfsFile"):
            if value["algo"] != "sha256" or value["oid"] not in self.blobs:
                return self._json({"error": f"{value['path']} was not uploaded."}, 400)
            files[value["path"]] = self.blobs[value["oid"]]
        if wrong := [
            name for name in files if (mode_of(name) == "lfs") != (name in large(entries))
        ]:
            return self._json({"error": f"{wrong} came the wrong way."}, 400)
        self.commits.append(header["summary"])
        commit = self._keep(repo, {**left, **files})
        url = f"http://{self.headers['Host']}/{repo}/commit/{commit}"
        return self._json({"commitUrl": url, "commitOid": commit, "pullRequestUrl": None})

    def _keep(self, repo: str, files: dict[str, bytes]) -> str:
        past = self.history.setdefault(repo, [])
        commit = hashlib.sha1(f"{repo}{len(past)}".encode()).hexdigest()
        past.append((commit, files))
        self.repos[repo] = files
        return commit

    def _head(self, repo: str) -> str:
        past = self.history.get(repo)
        return past[-1][0] if past else COMMIT

    def _at(self, repo: str, revision: str | None) -> dict[str, bytes] | None:
        """The files of a repository at a revision; None where there is none to be seen."""
        if not self._may_see(repo):
            return None
        if revision in (None, "main", self._head(repo)) or repo not in self.history:
            return self.repos[repo]
        return dict(self.history[repo]).get(str(revision))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if not self._known():
            return None
        if self.path == "/api/whoami-v2":
            owner = self._owner()
            known = {"name": owner, "type": "user"}
            return self._json(known) if owner else self._json({"error": "Invalid"}, 401)
        if self.path.startswith("/api/models?"):
            return self._list(parse_qs(urlsplit(self.path).query))
        if match := ABOUT.fullmatch(self.path):
            return self._about(match[1], unquote(match[2]) if match[2] else None)
        if match := TREE.fullmatch(self.path):
            listed = self._at(match[1], unquote(match[2])) or {}
            return self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in listed.items()
                ]
            )
        if match := FILE.fullmatch(self.path):
            files = self._at(match[1], unquote(match[2]))
            data = (files or {}).get(unquote(match[3]))
            commit = {"X-Repo-Commit": self._of(match[1], match[2])}
            if data is not None:
                return self._bytes(data, headers=commit)
            if files is not None:
                return self._bytes(b"", 404, {**commit, "X-Error-Code": "EntryNotFound"})
        return self._json({"error": "Entry not found"}, 404)

    def _of(self, repo: str, revision: str | None) -> str:
        return self._head(repo) if revision in (None, "main") else str(revision)

    def _about(self, repo: str, revision: str | None) -> None:
        files = self._at(repo, revision)
        if files is None:
            seen = self._may_see(repo)
            status = 404 if self._owner() or seen else 401
            code = "RevisionNotFound" if seen else "RepoNotFound"
            return self._json({"error": "Repository not found"}, status, code)
        card = self._card(repo, files, self._of(repo, revision))
        if repo in self.moves:
            self._keep(repo, self.moves.pop(repo))
        return self._json(card)

    def _card(self, repo: str, files: dict[str, bytes], commit: str) -> dict[str, Any]:
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        return {
            "id": repo,
            "sha": commit,
            "private": repo in self.private,
            "siblings": siblings,
            "tags": tags_of(files.get("README.md", b"").decode()),
            "likes": 3,
            "downloads": 14,
            "lastModified": "2026-03-04T05:06:07.000Z",
        }

    def _list(self, asked: dict[str, list[str]]) -> None:
        found = [
            self._card(repo, files, self._head(repo))
            for repo, files in self.repos.items()
            if self._may_see(repo)
        ]
        wanted, words = set(asked.get("filter", [])), asked.get("search", [""])[0]
        self._json([one for one in found if wanted <= {*one["tags"]} and words in one["id"]])

    # --- answers --------------------------------------------------------------------------

    def _json(self, value: Any, status: int = 200, code: str = "RepoNotFound") -> None:
        headers = {"X-Error-Code": code} if status == 404 else {}
        self._bytes(json.dumps(value).encode(), status, headers)

    def _bytes(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        told = {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            **(headers or {}),
        }
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.breaks and self.path.endswith(self.breaks):
            self._break(data[: len(data) // 2])
        else:
            self.wfile.write(data)

    def _break(self, data: bytes) -> None:
        """Sends these and resets the connection, as a router does that forgets it."""
        self.wfile.write(data)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        os.close(self.connection.detach())


def nothing() -> dict[str, Any]:
    """What a handler class begins with."""
    return {
        "repos": {}, "commits": [], "history": {}, "blobs": {}, "private": set(), "asked": [],
        "moves": {},
    }  # fmt: skip


@contextmanager
def hub(tokens: dict[str, str] | None = None) -> Iterator[tuple[str, type[HubStandIn]]]:
    """Runs the stand-in; gives its address and the handler class that holds the repositories.

    Args:
        tokens: owner of each token that is good; None takes any token, and none.
    """
    handler = type("Handler", (HubStandIn,), {**nothing(), "tokens": tokens})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
