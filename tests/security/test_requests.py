"""What a request can and can't reach, sent as no browser would send it."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.version import Version

from rlkv.masks import HeadMask
from storage.database import FILE_NAME, Database, open_database
from storage.jobs import Jobs
from storage.masks import Masks
from tests.browser.conftest import Server
from tests.holding import holding
from tests.load.session import config_of
from ui.doors import MOST_BYTES

MARK = "the-mark-of-a-private-file"
PAGES = ("/", "/train", "/heads", "/head", "/masks", "/finder", "/chat", "/evaluate", "/stories")


@pytest.fixture
def client(app: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=60) as client:
        yield client


@pytest.fixture
def db(app: Server) -> Iterator[Database]:
    db = open_database(app.folder)
    yield db
    db.close()


def alive(client: httpx.Client) -> bool:
    # Not over a connection that the server may have hung up.
    return httpx.get(str(client.base_url), timeout=60).status_code == 200


# --- files ----------------------------------------------------------------------------------


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


# --- events ---------------------------------------------------------------------------------

HUGE = "x" * 300_000
JUNK: list[Any] = [
    None, -1, 10**30, math.nan, math.inf, "", "<img src=x onerror=alert(1)>", "../../etc/passwd",
    HUGE, [], [[]], {}, {"a": HUGE}, [10**30] * 1000, True, {"path": "/etc/passwd"},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip


def join(
    client: httpx.Client, event: int, data: list[Any], event_data: Any = None, session: str = "junk"
) -> str:
    """Sends an event past the page, and reads all that comes back."""
    body = json.dumps(
        {"data": data, "fn_index": event, "session_hash": session, "event_data": event_data,
         "trigger_id": 3}
    )  # fmt: skip
    kind = {"content-type": "application/json"}
    told = client.post("/gradio_api/run/predict", content=body, headers=kind).text
    answer = client.post("/gradio_api/queue/join", content=body, headers=kind)
    if answer.status_code == 200:
        where = {"session_hash": session}
        with client.stream("GET", "/gradio_api/queue/data", params=where) as stream:
            told += stream.read().decode()
    return told + answer.text


def events(client: httpx.Client) -> dict[int, dict[str, Any]]:
    """All events of all pages that go to the server."""
    found = {}
    for page in PAGES:
        for one in config_of(client.get(page).text)["dependencies"]:
            if one["backend_fn"] and not any(name == "unload" for _, name in one["targets"]):
                found[one["id"]] = one
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_forged_events_start_nothing_on_a_public_copy(space: Server) -> None:
    """Every event of every page, with values of no sense, as if it came from another page."""
    db = open_database(space.folder)
    mask = Masks(db).save(
        HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer", name="Its").to_record()
    )
    job = Jobs(db).create("train", {}, title="Theirs", claimed_by=os.getpid())
    with holding(db, job), httpx.Client(base_url=space.url, timeout=60) as client:
        known = events(client)
        assert len(known) > 150
        for number, (event, one) in enumerate(sorted(known.items())):
            junk = [JUNK[(number + i) % len(JUNK)] for i in range(len(one["inputs"]))]
            told = join(client, event, junk, JUNK[number % len(JUNK)], f"junk{number}")
            assert "Traceback" not in told
            assert "root:" not in told
            assert str(space.folder) not in told
        assert alive(client)
        assert [one.id for one in Jobs(db).list(100)] == [job.id]
        assert not Jobs(db).get(job.id).stop_requested
    assert Masks(db).get(mask.id).name == "Its"
    assert not Masks(db).deleted()
    assert db.check() == []
    db.close()


def test_no_address_is_fetched_for_a_client(client: httpx.Client) -> None:
    """All of it would be read into memory, whatever its size."""
    page = config_of(client.get("/masks").text)
    ids = {c["props"].get("elem_id"): c["id"] for c in page["components"]}
    named = {"path": "http://127.0.0.1:9/x", "meta": {"_type": "gradio.FileData"}}
    for elem_id, event, value in (("files", "upload", [named]), ("search", "change", named)):
        (one,) = (d for d in page["dependencies"] if [ids[elem_id], event] in d["targets"])
        told = join(
            client, one["id"], [value if i == ids[elem_id] else None for i in one["inputs"]]
        )
        assert ("Addresses are not fetched" in told) == (elem_id == "files")
        assert '"error":null' not in told


def test_unknown_events_are_refused(client: httpx.Client) -> None:
    for event in (-1, 10**6, 2**63):
        with suppress(httpx.TransportError):  # the server may hang up on such a request
            assert "Traceback" not in join(client, event, [])
    assert alive(client)


def test_only_functions_meant_for_it_are_called_by_widgets(client: httpx.Client) -> None:
    config = config_of(client.get("/chat").text)
    talk = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "talk")
    for name in ("pull", "columns"):
        for data in JUNK:
            body = {"data": data, "component_id": talk, "fn_name": name, "session_hash": "junk"}
            answer = client.post(
                "/gradio_api/component_server", content=json.dumps(body),
                headers={"content-type": "application/json"},
            )  # fmt: skip
            assert answer.json() in ({"state": "gone", "sides": []}, {})
    for name in ("postprocess", "preprocess", "__class__", "get_config", "unload", "nothing"):
        body = {"data": "x", "component_id": talk, "fn_name": name, "session_hash": "junk"}
        answer = client.post("/gradio_api/component_server", json=body)
        assert answer.status_code == 404


def test_a_defect_is_not_told_to_the_page(client: httpx.Client) -> None:
    """Only mistakes have words; whatever else goes wrong is for the log."""
    config = config_of(client.get("/chat").text)
    assert config["show_error"] is False
    send = next(d for d in config["dependencies"] if d["api_name"] == "send")
    told = join(client, send["id"], [{"not": "a text"}] * 3)
    assert '.py"' not in told
    assert "Error:" not in told


# --- doors ----------------------------------------------------------------------------------


def test_what_gradio_could_open_is_closed(client: httpx.Client) -> None:
    config = config_of(client.get("/").text)
    assert config["analytics_enabled"] is False
    assert config["run_history"] in (False, None)
    assert config["vibe_mode"] is False
    assert client.get("/monitoring").status_code != 200 or "monitoring" not in (
        client.get("/monitoring/summary").text
    )
    assert client.get("/gradio_api/mcp/").status_code == 404
    assert client.get("/gradio_api/runs").status_code != 200
    public = client.get("/gradio_api/info").json()["named_endpoints"]
    assert {name.strip("/") for name in public} == {
        "list_masks", "get_mask", "estimate_memory", "generate", "start_training",
        "start_evaluation", "job", "jobs", "stop_job",
    }  # fmt: skip


EVIL = "http://evil.example"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Origin": EVIL}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "{own}"}, False),
        ({"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, True),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "{own}"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Host": "evil.example"}, True),
        ({"Host": "evil.example:80", "Origin": EVIL, "Sec-Fetch-Site": "same-origin"}, True),
        ({"Host": "localhost.evil.example"}, True),
        ({"Host": "localhost"}, False),
        ({"Host": "[::1]:7860"}, False),
    ],
)
def test_pages_and_names_of_others_are_refused(
    app: Server, client: httpx.Client, headers: dict[str, str], refused: bool
) -> None:
    sent = {key: value.format(own=app.url) for key, value in headers.items()}
    answer = client.post("/gradio_api/call/jobs", json={"data": [1, ""]}, headers=sent)
    assert (answer.status_code in (403, 421)) == refused, answer.text


def test_a_link_from_another_site_opens_the_page(client: httpx.Client) -> None:
    follows = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/heads", headers=follows).status_code == 200
    assert client.post("/gradio_api/call/jobs", headers=follows).status_code == 403


def test_no_page_of_another_site_shows_the_app_within_it(client: httpx.Client) -> None:
    for path in ("/", "/heads", "/gradio_api/info"):
        policy = client.get(path).headers["content-security-policy"]
        assert policy == "frame-ancestors 'self'"


def test_a_space_can_be_called_from_elsewhere(space: Server) -> None:
    assert "content-security-policy" not in httpx.get(space.url).headers  # the Hub frames it
    answer = httpx.post(
        f"{space.url}/gradio_api/call/list_masks", json={"data": ["tracer"]},
        headers={"Origin": EVIL, "Host": "somebody-rlkv.hf.space"}, timeout=60,
    )  # fmt: skip
    assert answer.status_code == 200


def test_the_packages_stand_clear_of_known_faults() -> None:
    """Oldest versions by the list of reported faults; `scripts/audit` asks for newer ones."""
    assert Version(version("gradio")) >= Version("6.31")
    assert Version(version("brotli")) >= Version("1.2.1")
    assert Version(version("starlette")) >= Version("1.0.1")
