"""What a request can and can't reach, sent as no browser would send it."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from packaging.version import Version

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.jobs import Jobs
from storage.masks import Masks
from tests.browser.conftest import Server
from tests.holding import holding
from tests.load.session import config_of
from tests.security.asking import PAGES, alive, join

# --- events ---------------------------------------------------------------------------------

HUGE = "x" * 300_000
JUNK: list[Any] = [
    None, -1, 10**30, math.nan, math.inf, "", "<img src=x onerror=alert(1)>", "../../etc/passwd",
    HUGE, [], [[]], {}, {"a": HUGE}, [10**30] * 1000, True, {"path": "/etc/passwd"},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip


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
