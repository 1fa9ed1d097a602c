"""Two visitors of one copy, over HTTP: what one keeps is not there for the other.

A real app as on a Space whose owner allows training. What no event makes within seconds, such as a
job's log, is written into its database as that of a visitor.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlkv.masks import HeadMask
from storage.chats import Chats
from storage.database import Database, open_database
from storage.jobs import Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from storage.votes import Contender, Votes
from tests.browser.conftest import Server
from tests.ui.tab import Refused, Tab
from ui.chat.screen import signed

ANN, BOB = "ann-" * 10, "bob-" * 10
NOTHING = "0000000000000000"
QUESTION = ("c=7; b=6; e:c-b; k:c-e; ?k", "shipped", "both", -1, "", 256, 0, 1, 0, "")
LINKS = [
    HeadMask.random(4, 8, sparsity=0.5, seed=seed, model="tracer").to_link() for seed in range(5)
]


def owner_of(cookie: str) -> str:
    return hashlib.sha256(f"cookie:{cookie}".encode()).hexdigest()[:32]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("space")
    db = open_database(folder)
    busy = subprocess.Popen(["sleep", "600"])
    # The copy's own job holds the machine, so that those of visitors stay in the queue.
    Jobs(db).create("train", {"steps": 1}, title="The copy's own", claimed_by=busy.pid)
    db.close()
    server = Server(
        folder, SPACE_ID="somebody/rlkv", RLKV_ALLOW_TRAINING="1", RLKV_VISITOR_MASKS="3",
        RLKV_VISITOR_MODEL_SECONDS="1",
    )  # fmt: skip
    try:
        server.start()
        yield server
    finally:
        server.close()
        busy.kill()
        busy.wait()


@pytest.fixture(scope="module")
def db(space: Server) -> Iterator[Database]:
    db = open_database(space.folder)
    yield db
    db.close()


def tab(space: Server, cookie: str | None, address: str = "203.0.113.1", **headers: str) -> Tab:
    """A new page load; the app believes this machine which address it came from, as a proxy."""
    return Tab(space.url, cookie, **{"X-Forwarded-For": address, **headers})


@pytest.fixture(scope="module")
def ann(space: Server) -> Tab:
    return tab(space, ANN)


@pytest.fixture(scope="module")
def bob(space: Server) -> Tab:
    return tab(space, BOB, "203.0.113.2")


def kept_from(tab: Tab, link: str) -> str:
    """The key of a mask that a visitor keeps from a link, as the bar under a page does."""
    return str(tab.fire("link-keep", "click", link_text=link)["link-key"])


def same_as_missing(ask: Callable[[Any], Any], key: Any, missing: Any = NOTHING) -> None:
    """An id of somebody else is refused in the very words for one that there is not."""
    said = []
    for one in (key, missing):
        with pytest.raises(Refused) as caught:
            ask(one)
        said.append(str(caught.value).replace(str(one), "?"))
    assert said[0] == said[1]
    assert said[0] not in ("", "None")


def naming(tab: Tab, elem_id: str, event: str, field: str, **more: Any) -> Callable[[Any], Any]:
    """An event that names something by its id."""
    return lambda key: tab.fire(elem_id, event, {**more, field: key})


def test_a_mask_is_there_for_whoever_kept_it(space: Server, ann: Tab, bob: Tab) -> None:
    key = kept_from(ann, LINKS[0])
    assert key in ann.open("shelf")["shelf"]
    assert key in [one["key"] for one in tab(space, ANN).api("list_masks", "")]
    assert ann.open("mask", f"?mask={key}")["mask"]["value"] == key
    assert key not in bob.open("shelf")["shelf"]
    assert key not in [one["key"] for one in bob.api("list_masks", "")]
    shown = bob.open("mask", f"?mask={key}")
    assert shown["mask"]["value"] == "shipped"
    assert key not in json.dumps(shown)

    for event in ("rename", "remove", "restore", "forget"):
        same_as_missing(naming(bob, "shelf", event, "key", name="bob's"), key)
    for event in ("take", "link"):
        more = {"form": "zip", "base": "http://127.0.0.1/", "page": "heads"}
        same_as_missing(naming(bob, "shelf", event, "key", **more), key)
    same_as_missing(lambda k: bob.fire("shelf", "average", {"keys": [k, "shipped"]}), key)
    same_as_missing(lambda k: bob.api("get_mask", k), key)
    same_as_missing(lambda k: bob.api("generate", QUESTION[0], k, *QUESTION[2:]), key)
    same_as_missing(lambda k: bob.api("estimate_memory", "tracer", k, 100, -1, 1), key)
    same_as_missing(lambda k: bob.api("start_evaluation", {"problems": 1}, [k], ""), key)

    ann.fire("shelf", "rename", {"key": key, "name": "ann's own"})
    assert "ann&#x27;s own" in ann.fire("shelf", "remove", {"key": key})["undo-delete"]
    assert "Restore" not in bob.open("shelf")["shelf"]
    assert key in ann.fire("shelf", "restore", {"key": key})["shelf"]


def test_what_the_copy_brings_is_seen_by_all_and_changed_by_none(
    db: Database, ann: Tab, bob: Tab
) -> None:
    mask = HeadMask.load(LINKS[4])
    key = Masks(db).save(mask.to_record()).id
    job = Jobs(db).list()[0].id
    for one in (ann, bob):
        assert key in one.open("shelf")["shelf"]
        assert job in [line["id"] for line in one.api("jobs", 50, "")]
        with pytest.raises(Refused, match="came with the public copy"):
            one.fire("shelf", "remove", {"key": key})
        with pytest.raises(Refused, match="came with the public copy"):
            one.api("stop_job", job)
    assert Jobs(db).get(job).stop_requested is False


def test_a_job_is_stopped_and_read_by_whoever_started_it(
    space: Server, db: Database, ann: Tab, bob: Tab
) -> None:
    job = ann.api("start_training", {"seed": 4}, "quick", "k")["id"]
    assert ann.api("start_training", {"seed": 4}, "quick", "k")["id"] == job
    Metrics(db).add_event(job, "info", "words for ann")
    (Jobs(db).folder(job) / "log.txt").write_text("words for ann")
    with pytest.raises(Refused, match="at most 1 job under way"):
        ann.api("start_training", {"seed": 5}, "quick", "")
    for settings in ({"where": "hf-job"}, {"report_to": "trackio"}):
        with pytest.raises(Refused, match="jobs run on its own machine"):
            ann.api("start_training", settings, "quick", "")
    with pytest.raises(Refused, match="embedded model only"):
        ann.api("start_training", {"model": "HuggingFaceTB/SmolLM2-135M"}, "quick", "")

    assert job not in [line["id"] for line in bob.api("jobs", 50, "")]
    same_as_missing(lambda k: bob.api("job", k), job)
    same_as_missing(lambda k: bob.api("stop_job", k), job)
    for shown in (bob.open("live", f"?job={job}"), bob.fire("jobs", "open", {"id": job})):
        assert job not in json.dumps(shown)
        assert "words for ann" not in json.dumps(shown)
    with pytest.raises(Refused, match="came with the public copy"):
        bob.fire("stop", "click")
    assert "words for ann" not in download(bob, bob.fire("get-log", "click")["job-file"])

    again = tab(space, ANN)
    assert "words for ann" in again.open("live", f"?job={job}")["log"]
    assert "words for ann" in download(again, again.fire("get-log", "click")["job-file"])
    again.fire("stop", "click")
    until_ended(db, job)


def download(tab: Tab, file: dict[str, Any]) -> str:
    return tab.http.get(file["url"]).raise_for_status().text


def until_ended(db: Database, job: str) -> None:
    end = time.monotonic() + 120
    while not Jobs(db).get(job).is_terminal:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_conversation_is_there_for_whoever_held_it(space: Server, db: Database, bob: Tab) -> None:
    chats = Chats(db, owner_of(ANN))
    chat = chats.create("tracer", "a talk of ann's").id
    side = {"text": "a secret", "now": {}}
    asked, said = chats.add_turn(
        chat, "what?", "a secret", {"sides": [side]},
        tokens=[{"t": ["a secret"]}],
    )  # fmt: skip
    Votes(db, owner_of(ANN)).cast(said.id, "left", Contender(), Contender("ann's mask", 0.5))

    again = tab(space, ANN)
    shown = again.open("talk", f"?chat={chat}")
    assert "what?" in json.dumps(shown["talk"])
    assert "a talk of ann" in json.dumps(shown["chat-list"])
    assert "ann&#x27;s mask" in json.dumps(shown)
    asked_for = {"key": signed_by_app(again, shown), "chat": chat, "ids": [said.id]}
    assert "a secret" in json.dumps(again.call("talk", "columns", asked_for))

    assert bob.call("talk", "columns", asked_for) == {}
    assert bob.call("talk", "columns", {**asked_for, "key": signed(chat)}) == {}
    for query in (f"?chat={chat}", ""):
        text = json.dumps(bob.open("talk", query))
        assert "ann" not in text
        assert "what?" not in text
    for event in ("open", "rename", "remove"):
        same_as_missing(naming(bob, "chat-list", event, "chat", title="bob's"), chat)
    for event in ("branch", "fork", "vote"):
        sent = {"chat": chat, "message": said.id, "choice": "a"}
        with pytest.raises(Refused, match="Open one of your own conversations first"):
            bob.fire("talk", event, sent)
    with pytest.raises(Refused, match="Open a conversation first"):
        bob.fire("save-json", "click")
    assert chats.get(chat).title == "a talk of ann's"
    assert [m.id for m in chats.messages(chat)] == [asked.id, said.id]


def signed_by_app(tab: Tab, shown: dict[str, Any]) -> str:
    return str(shown["talk"]["key"])


def test_a_message_of_another_is_out_of_reach_in_a_conversation_of_ones_own(
    db: Database, bob: Tab
) -> None:
    ann, own = Chats(db, owner_of(ANN)), Chats(db, owner_of(BOB))
    _, theirs = ann.add_turn(ann.create("tracer", "hers").id, "q", "a", {"sides": []})
    chat = own.create("tracer", "his").id
    own.add_turn(chat, "q", "a", {"sides": [{"text": "a"}]})
    bob.fire("chat-list", "open", {"chat": chat})
    for event in ("branch", "fork", "vote"):
        same_as_missing(
            naming(bob, "talk", event, "message", choice="a"), theirs.id, theirs.id + 1000
        )  # fmt: skip
    bob.fire("chat-list", "remove", {"chat": chat})


def test_without_a_cookie_a_session_is_a_visitor(space: Server, ann: Tab) -> None:
    one, other = tab(space, None), tab(space, None)
    key = kept_from(one, LINKS[1])
    assert key in one.open("shelf")["shelf"]
    for else_ in (other, ann, tab(space, None), tab(space, "short")):
        assert key not in else_.open("shelf")["shelf"]


def test_a_page_of_somebody_else_does_not_act_with_the_cookie(space: Server, ann: Tab) -> None:
    key = kept_from(ann, LINKS[2])
    assert key in tab(space, ANN, **{"Sec-Fetch-Site": "same-origin"}).open("shelf")["shelf"]
    for site in ("cross-site", "same-site"):
        assert key not in tab(space, ANN, **{"Sec-Fetch-Site": site}).open("shelf")["shelf"]


def test_the_cookie_is_set_by_pages_and_kept_nowhere(space: Server, ann: Tab) -> None:
    page = tab(space, None).http.get("/masks")
    name, _, rest = page.headers["set-cookie"].partition("=")
    value, *kind = rest.split("; ")
    assert name == "__Host-rlkv-visitor"
    assert len(value) >= 32
    assert {"Path=/", "HttpOnly", "SameSite=None", "Secure", "Partitioned"} < set(kind)
    assert f"={ANN};" in ann.http.get("/").headers["set-cookie"]
    for path in ("/config", "/gradio_api/info"):
        assert "set-cookie" not in ann.http.get(path).headers
    for file in space.folder.rglob("*"):
        if file.is_file():
            assert ANN.encode() not in file.read_bytes(), file


def test_a_visitor_keeps_as_many_masks_as_are_allowed(space: Server) -> None:
    full = tab(space, "carl" * 10)
    for link in LINKS[:3]:
        kept_from(full, link)
    with pytest.raises(Refused, match=r"at most 3 masks: delete one .* own machine without limits"):
        kept_from(full, LINKS[3])


def test_model_time_is_of_an_address_and_new_cookies_do_not_refill_it(space: Server) -> None:
    with pytest.raises(Refused, match=r"max_new_tokens has to be a number from 1 to 1,024"):
        tab(space, None).api("generate", *QUESTION[:5], 1025, *QUESTION[6:])
    address = "203.0.113.77"
    greedy = tab(space, "dora" * 10, address)
    assert greedy.api("generate", *QUESTION)["done"]
    used_up = r"for 1 seconds an hour.* more in \d+ minutes.* own machine without limits"
    with pytest.raises(Refused, match=used_up):
        deque(iter(lambda: greedy.api("generate", *QUESTION)["done"], False))
    for cookie in (None, "edna" * 10):
        with pytest.raises(Refused, match="for 1 seconds an hour"):
            tab(space, cookie, address).api("generate", *QUESTION)
    assert tab(space, "dora" * 10, "203.0.113.78").api("generate", *QUESTION)["done"]
    with pytest.raises(Refused, match="for 1 seconds an hour"):
        greedy.fire("send", "click", question=QUESTION[0])


def test_files_are_private(space: Server, tmp_path: Path, bob: Tab) -> None:
    for path in (space.folder / "rlkv.sqlite3", *(space.folder / "jobs").rglob("log.txt")):
        assert bob.http.get(f"/gradio_api/file={path}").status_code in (403, 404)
