"""Who asks, what they may use, and when a copy forgets; without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gradio.context import LocalContext

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from storage.errors import StorageError
from ui import visitor
from ui.library.importing import store
from ui.models.allowed import require_allowed
from ui.models.picker import choices
from ui.quotas import MOST_ADDRESSES, JobsStarted, Meter, ModelTime, Quotas
from ui.starting import starting
from ui.studio import Settings, Studio

COOKIE = "c" * 40
SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def asked_by(
    cookie: str = "", *, host: str = "203.0.113.5", session: str | None = None, **more: Any
) -> Iterator[None]:
    """As within an event."""
    headers = {"cookie": f"a=b; {visitor.PLAIN}={cookie}", **more.pop("headers", {})}
    raw = SimpleNamespace(headers=headers, client=SimpleNamespace(host=host))
    request: Any = SimpleNamespace(request=raw, session_hash=session, **more)
    token = LocalContext.request.set(request)
    try:
        yield
    finally:
        LocalContext.request.reset(token)


def who(*given: Any, **more: Any) -> str:
    with asked_by(*given, **more):
        return visitor.visitor()


# --- who asks -------------------------------------------------------------------------------


def test_a_cookie_is_a_visitor_and_a_session_one_where_there_is_none() -> None:
    assert who(COOKIE) == who(COOKIE, session="s") == who(COOKIE, host="203.0.113.6")
    assert who(COOKIE) != who("d" * 40)
    assert COOKIE not in who(COOKIE)
    assert who("", session="s") == who("short", session="s") != who("", session="t")
    assert who("", session=COOKIE) != who(COOKIE)


@pytest.mark.parametrize(
    "other",
    ['theme={"a":"b"}', "x=a b", "k[0]=1", "name=J\u00f6rg", "path=/x", 'a="un', "x", "=; ;"],
)
def test_cookies_of_other_apps_on_the_host_do_not_hide_it(other: str) -> None:
    """A browser sends those of every port."""
    for cookie in (f"{other}; {visitor.PLAIN}={COOKIE}", f"{visitor.PLAIN}={COOKIE}; {other}"):
        assert who(headers={"cookie": cookie}) == who(COOKIE)


def test_one_login_for_everybody_does_not_make_them_one() -> None:
    login = {"username": "everybody"}
    assert who(COOKIE, **login) == who(COOKIE) != who("d" * 40, **login)
    assert who("", session="s", **login) != who("", session="t", **login)
    assert who(**login) != who(**login)


@pytest.mark.parametrize(
    ("site", "own"),
    [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)],
)
def test_a_page_of_another_site_does_not_act_for_a_visitor(site: str, own: bool) -> None:
    """On a Space such pages may call the app."""
    cookie = f"{visitor.PLAIN}={COOKIE}"
    headers = {"cookie": cookie, "sec-fetch-site": site}
    assert (who(headers=headers) == who(COOKIE)) is own
    assert (who(headers=headers, session="s") == who("", session="s")) is not own


def test_nobody_is_nobody_else() -> None:
    assert LocalContext.request.get(None) is None
    assert len({visitor.visitor() for _ in range(3)} | {who() for _ in range(3)}) == 6
    assert visitor.address() == ""


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_is_a_home(host: str, address: str) -> None:
    with asked_by(host=host):
        assert visitor.address() == address


# --- what is read from the environment ------------------------------------------------------


def test_a_copy_is_shared_on_a_space_or_where_its_owner_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = Settings.from_environment()
    assert (home.shared, home.may_train, home.limits) == (False, True, None)
    monkeypatch.setenv("RLKV_SHARED", "1")
    monkeypatch.setenv("RLKV_MODELS", f" {SMOL}, org/own ,{SMOL}")
    monkeypatch.setenv("RLKV_VISITOR_MASKS", "7")
    shared = Settings.from_environment()
    assert (shared.shared, shared.may_train) == (True, False)
    assert shared.models == (SMOL, "org/own")
    assert shared.limits == Quotas(masks=7).limits


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RLKV_VISITOR_CHATS", "many"),
        ("RLKV_KEEP_DAYS", "-1"),
        ("RLKV_KEEP_DAYS", "9999999999"),
        ("RLKV_MODELS", "/etc/passwd"),
        ("RLKV_MODELS", "examples/masks"),
    ],
)
def test_what_makes_no_sense_is_named(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKV_SHARED", "1")
    monkeypatch.setenv(name, text)
    with pytest.raises(StorageError, match=name):
        Settings.from_environment()


def test_an_owner_offers_models_to_visitors(tmp_path: Path) -> None:
    studio = Studio.open(Settings(shared=True, models=(SMOL, "org/own"), data_dir=tmp_path))
    assert [ref for _, ref in choices(studio)] == ["tracer", SMOL, "org/own"]
    require_allowed(studio, "org/own")
    with pytest.raises(UserError, match=f"embedded model and {SMOL}, org/own"):
        require_allowed(studio, "org/other")
    studio.db.close()


# --- what is used up ------------------------------------------------------------------------


def test_what_was_used_frees_as_it_gets_old() -> None:
    clock = Clock()
    meter = Meter(10, 100, clock)
    for amount in (4, 5):
        meter.add("a", amount)
        clock.now += 10
    assert (meter.left("a"), meter.left("b"), meter.frees_in("a")) == (1, 10, 0)
    meter.add("a", 3)  # what has begun is finished
    assert (meter.left("a"), meter.frees_in("a")) == (0, 80)
    clock.now += 80
    assert (meter.left("a"), meter.frees_in("a")) == (2, 0)
    clock.now += 100
    assert meter.left("a") == 10


def test_the_addresses_that_are_remembered_do_not_grow_for_ever() -> None:
    meter = Meter(1, 100)
    meter.add("early", 1)
    for number in range(MOST_ADDRESSES - 1):
        meter.add(f"before {number}", 1)
    meter.add("early", 1)  # used again, it is the latest
    meter.add("one more", 1)
    assert (meter.left("early"), meter.left("before 0")) == (0, 1)
    meter = Meter(1, 100)
    for number in range(MOST_ADDRESSES + 5):
        meter.add(str(number), 1)
    assert meter.left("0") == 1
    assert meter.left(str(MOST_ADDRESSES)) == 0


def test_model_time_is_counted_whatever_becomes_of_it() -> None:
    clock = Clock()
    used = ModelTime(60, clock)
    used.require("a")

    def fail_after(seconds: float) -> None:
        with used.counted("a"):
            clock.now += seconds
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after(90)
    with pytest.raises(UserError, match=r"60 seconds an hour.* more in 60 minutes"):
        used.require("a")
    clock.now += 3000
    with pytest.raises(UserError, match="more in 10 minutes"):
        used.require("a")
    clock.now += 601
    used.require("a")


def test_jobs_are_counted_by_address_only_where_one_was_started(tmp_path: Path) -> None:
    quotas = Quotas(jobs_a_day=1, active_jobs=9)
    studio = Studio.open(Settings(shared=True, quotas=quotas, data_dir=tmp_path))
    with asked_by(COOKIE):
        with pytest.raises(ZeroDivisionError), starting(studio, "tracer", "tracing"):
            raise ZeroDivisionError
        with starting(studio, "tracer", "tracing") as jobs:
            jobs.create("train", {})
    with asked_by("d" * 40):
        with pytest.raises(UserError, match="1 jobs were started within a day"):
            start(studio)
        with pytest.raises(UserError, match="embedded model only"):
            start(studio, "org/own")
    with asked_by("d" * 40, host="203.0.113.6"):
        start(studio)
        assert len(studio.jobs.list()) == 1
    studio.db.close()


def test_masks_are_counted_by_address_though_every_session_is_new(tmp_path: Path) -> None:
    quotas = Quotas(masks=2, masks_a_day=3)
    studio = Studio.open(Settings(shared=True, quotas=quotas, data_dir=tmp_path))
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer")

    def keep(session: str, host: str = "203.0.113.5") -> str:
        with asked_by(session=session, host=host):
            return store(studio, mask, "m.zip", "RLKV Studio mask")

    for number in range(3):
        keep(f"session {number}")
    with pytest.raises(UserError, match=r"3 masks were kept within a day.* in 24\.0 hours"):
        keep("session 3")
    keep("session 0", host="203.0.113.6")
    with pytest.raises(StorageError, match="at most 2 masks"):  # and a refusal counts as none
        keep("session 0", host="203.0.113.6")
    assert studio.masks_kept.left("203.0.113.6") == 2
    studio.db.close()


def test_no_page_stores_a_mask_uncounted() -> None:
    folder = Path(visitor.__file__).parent
    saving = [p.name for p in folder.rglob("*.py") if "masks.save(" in p.read_text()]
    assert saving == ["studio.py"]


def start(studio: Studio, model: str = "tracer", task: str = "tracing") -> None:
    with starting(studio, model, task) as jobs:
        jobs.create("train", {})


def test_visitors_cannot_have_the_owners_files_read(tmp_path: Path) -> None:
    studio = Studio.open(Settings(shared=True, may_train=True, data_dir=tmp_path))
    with asked_by(COOKIE), pytest.raises(UserError, match="not for its visitors"):
        start(studio, task="jsonl:/etc/passwd")
    assert not studio.jobs.list()
    studio.db.close()


def test_no_jobs_a_day_is_no_jobs() -> None:
    with pytest.raises(UserError, match="0 jobs"), JobsStarted(0).one("a"):
        pass


def test_at_home_there_are_no_limits_and_no_visitors(tmp_path: Path) -> None:
    quotas = Quotas(masks=0, chats=0, active_jobs=0, jobs_a_day=0, model_seconds=0)
    home = Studio.open(Settings(quotas=quotas, data_dir=tmp_path))
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=1, model="tracer")
    with asked_by(COOKIE):
        key = home.masks.save(mask.to_record()).id
        home.chats.create("tracer", "c")
        start(home, "org/any", "jsonl:mine.jsonl")
        with home.lease("tracer") as (model, _):
            assert model is not None
    with asked_by("d" * 40):
        assert home.masks.get(key).owner == ""
        assert len(home.jobs.list()) == len(home.chats.list()) == 1
    assert home.owner is None
    home.db.close()
