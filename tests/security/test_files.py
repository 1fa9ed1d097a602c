"""Files: what can be read, what an upload may be called, and where it goes; over the network."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rlkv.masks import HeadMask
from storage.database import FILE_NAME, Database
from storage.masks import Masks
from tests.browser.conftest import Server
from tests.load.session import config_of
from tests.security.asking import PAGES, alive, join
from ui.doors import MOST_BYTES

MARK = "the-mark-of-a-private-file"


def private_files(folder: Path) -> list[Path]:
    """Files with a mark in the data folder, some of them made after the app has started."""
    job = folder / "jobs" / "abc"
    job.mkdir(parents=True, exist_ok=True)
    files = [job / "log.txt", folder / "late.sqlite3", folder / "notes.txt", folder / "later.db"]
    for path in files:
        path.write_text(MARK)
    return [*files, folder / FILE_NAME, folder / f"{FILE_NAME}-wal", folder / "supervisor.log"]


WAYS = [
    "/gradio_api/file={path}",
    "/gradio_api/file=/../..{path}",
    "/gradio_api/file={tmp}/../{rest}",
    "/gradio_api/file={tmp}/%2e%2e/{rest}",
    "/gradio_api/file={tmp}%2f..%2f{rest}",
    "/gradio_api/file/{path}",
    "/gradio_api/file=file://{path}",
    "/file={path}",
    "/static/..{up}{path}",
    "/static/%2e%2e{up}{path}",
    "/assets/..{up}{path}",
    "/svelte/..{up}{path}",
    "/theme.css/..{up}{path}",
    "/gradio_api/stream/a/b/c/playlist-file?path={path}",
]


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_to_files_of_the_app_or_the_machine(
    app: Server, client: httpx.Client, way: str
) -> None:
    paths = [*private_files(app.folder), Path("/etc/passwd"), Path(__file__)]
    for path in paths:
        rest = path.relative_to(app.folder) if path.is_relative_to(app.folder) else path
        address = way.format(path=path, tmp=app.folder / "tmp", rest=rest, up="/.." * 12)
        # httpx would tidy the path up: send it as it is.
        request = client.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=address.encode())
        answer = client.send(request)
        if answer.status_code == 200:  # an address that is nothing shows the first page
            assert "text/html" in answer.headers["content-type"]
        assert MARK not in answer.text
        assert "root:" not in answer.text
        assert b"SQLite format 3" not in answer.content
        assert __doc__ not in answer.text


@pytest.mark.parametrize("parameter", ["job", "mask", "chat", "other", "view", "story", "head"])
def test_ids_in_addresses_are_no_paths(client: httpx.Client, parameter: str) -> None:
    for value in ("../../../etc/passwd", "/etc/passwd", "%00", "a" * 9000, "<script>x</script>"):
        for page in PAGES:
            answer = client.get(page, params={parameter: value})
            assert answer.status_code == 200
            assert "root:" not in answer.text
            assert "<script>x</script>" not in answer.text


def test_notes_of_a_mask_name_no_files(app: Server, db: Database, client: httpx.Client) -> None:
    """They are read as they are; Gradio would copy what they name to where it is served."""
    names_a_file = {"path": __file__, "meta": {"_type": "gradio.FileData"}}
    notes = {"note": names_a_file, "other": {"path": "x", "meta": "y"}}
    mask = HeadMask.full(4, 8, model="tracer", info=notes)
    key = Masks(db).save(mask.to_record()).id
    event = client.post("/gradio_api/call/get_mask", json={"data": [key]}).json()["event_id"]
    told = client.get(f"/gradio_api/call/get_mask/{event}").text
    assert json.dumps(notes) in told
    assert not list((app.folder / "tmp").rglob(Path(__file__).name))


# --- uploads --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../../../evil.txt", "/tmp/evil.txt", "..\\..\\evil.txt", "a/../../evil.txt", "x" * 300],
)
def test_uploads_stay_in_their_folder(app: Server, client: httpx.Client, name: str) -> None:
    before = {p for p in app.folder.rglob("*") if not p.is_relative_to(app.folder / "tmp")}
    answer = client.post("/gradio_api/upload", files={"files": (name, b"evil")})
    if answer.status_code == 200:
        (path,) = answer.json()
        assert Path(path).resolve().is_relative_to(app.folder / "tmp")
    after = {p for p in app.folder.rglob("*") if not p.is_relative_to(app.folder / "tmp")}
    assert {p.name for p in after - before} <= {f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"}
    assert not Path("/tmp/evil.txt").exists()


def test_an_uploaded_page_is_not_shown_as_one(client: httpx.Client) -> None:
    for name in ("x.html", "x.svg", "x.xhtml", "x.js"):
        (path,) = client.post(
            "/gradio_api/upload", files={"files": (name, b"<script>alert(1)</script>")}
        ).json()
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.headers["content-disposition"].startswith("attachment")


def test_files_and_bodies_have_a_largest_size(app: Server, client: httpx.Client) -> None:
    answer = client.post("/gradio_api/upload", files={"files": ("a.json", bytes(5_300_000))})
    assert answer.status_code == 413
    tmp = app.folder / "tmp"
    assert not [p for p in tmp.rglob("*") if p.is_file() and p.stat().st_size > 5_250_000]

    def endless() -> Iterator[bytes]:
        for _ in range(MOST_BYTES // 2**20 + 2):
            yield b" " * 2**20

    kind = {"content-type": "application/json"}
    for content in (b" " * (MOST_BYTES + 1), endless()):
        answer = client.post("/gradio_api/queue/join", content=content, headers=kind)
        assert answer.status_code in (400, 413)
    assert alive(client)


def test_a_zip_with_paths_writes_nowhere(app: Server, client: httpx.Client) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("../../../../zipped.txt", MARK)
        file.writestr("/etc/zipped.txt", MARK)
        file.writestr("config.json", "{}")
    (path,) = client.post("/gradio_api/upload", files={"files": ("m.zip", data.getvalue())}).json()
    config = config_of(client.get("/masks").text)
    uploads = [d for d in config["dependencies"] if any(t[1] == "upload" for t in d["targets"])]
    assert uploads
    for one in uploads:
        file_data = {"path": path, "orig_name": "m.zip", "meta": {"_type": "gradio.FileData"}}
        join(client, one["id"], [[file_data], None, None][: len(one["inputs"])])
    assert not list(app.folder.rglob("zipped.txt"))
    assert not Path("/etc/zipped.txt").exists()
