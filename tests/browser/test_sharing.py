"""Use elsewhere and the Hub, in the browser; the Hub is a stand-in that the app really talks to."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import itsdangerous
import pytest
from playwright.sync_api import Browser, Page, expect

from rlkv.masks import HeadMask
from rlkv.shipped import EXAMPLES
from tests.browser.conftest import Server, Watch
from tests.rlkv.hub_stand_in import HubStandIn, hub

pytestmark = pytest.mark.browser
VISITORS = "hf_aVisitorsOwnTokenThatMustNotShow"
TOKEN = "hf_standInTokenThatMustNotShowAnywhere"
SHIPPED = HeadMask.load(EXAMPLES / "masks" / "tracer")


@pytest.mark.slow
def test_the_shown_program_runs_in_a_fresh_process(page: Page, tmp_path: Path) -> None:
    page.goto("/heads?mask=shipped")
    page.locator("#map [data-head='0.0']").wait_for()
    page.get_by_role("button", name="Use elsewhere").click()
    page.locator("#snippet").click()
    lines = page.locator("#in-python .cm-line")
    expect(lines.first).to_be_visible()
    program = "\n".join(lines.all_inner_texts()).replace("\n\n\n", "\n")
    assert SHIPPED.to_link() in program
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "k=6" in done.stdout
    assert "16 of 32 heads kept whole" in done.stdout
    expect(page.locator("#in-shell")).to_contain_text("python -m rlkv chat --model tracer --mask")


def test_offline_the_page_says_so_and_goes_on(page: Page) -> None:
    """The tests' own app is set to work offline."""
    page.goto("/masks")
    began = time.monotonic()
    page.locator("#hub-look").click()
    expect(page.locator("#hub-found")).to_contain_text("set to work offline")
    assert time.monotonic() - began < 4
    expect(page.locator("#shelf .mask").first).to_be_visible()


World = tuple[Server, type[HubStandIn]]


@contextmanager
def world_of(folder: Path, **environment: str) -> Iterator[World]:
    """An app with data of its own, and the Hub that it knows."""
    with hub({TOKEN: "user", VISITORS: "visitor"}) as (endpoint, stand_in):
        server = Server(
            folder / "data", HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0", HF_TOKEN=TOKEN,
            HF_HOME=str(folder / "hf"), HF_HUB_DISABLE_XET="1", NO_PROXY="127.0.0.1",
            **environment,
        )  # fmt: skip
        try:
            server.start()
            yield server, stand_in
        finally:
            server.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path) as made:
        yield made


@pytest.fixture
def space(tmp_path: Path) -> Iterator[World]:
    """As on a Space with `hf_oauth: true`, whose owner has left a token in its secrets."""
    with world_of(
        tmp_path, SYSTEM="spaces", SPACE_ID="user/studio", SPACE_HOST="127.0.0.1",
        OAUTH_CLIENT_ID="id", OAUTH_CLIENT_SECRET="secret", OAUTH_SCOPES="openid",
        OPENID_PROVIDER_URL="http://127.0.0.1:9",
    ) as made:  # fmt: skip
        yield made


def session_cookie() -> str:
    """What Gradio hands to a visitor who has signed in, made with the Space's secret."""
    key = hashlib.sha256(b"secret-v4").hexdigest()
    told = {
        "oauth_info": {
            "access_token": VISITORS,
            "scope": "openid write-repos",
            "expires_at": time.time() + 3600,
            "userinfo": {
                "name": "V",
                "preferred_username": "visitor",
                "profile": "",
                "picture": "",
            },
        }
    }
    data = base64.b64encode(json.dumps(told).encode())
    return str(itsdangerous.TimestampSigner(key).sign(data).decode())


@pytest.mark.slow
def test_a_mask_is_pushed_found_looked_at_and_kept(
    browser: Browser, world: World, watch: Watch
) -> None:
    server, stand_in = world
    page = browser.new_page(base_url=server.url)
    watch.attach(page)
    page.goto("/heads?mask=shipped")
    page.locator("#map [data-head='0.0']").wait_for()
    page.get_by_role("button", name="Use elsewhere").click()
    page.locator("#repo input, #repo textarea").fill("user/from-the-page")
    page.locator("#push").click()
    expect(page.locator("#pushed a")).to_contain_text("/user/from-the-page/commit/", timeout=15_000)
    assert stand_in.commits == ["Upload head mask"]
    assert "user/from-the-page" in stand_in.private
    page.locator("#repo input, #repo textarea").fill("somebody/else")
    page.locator("#push").click()
    expect(page.get_by_text("right to write")).to_be_visible()

    page.goto("/masks")
    expect(page.locator("#shelf .mask").first).to_be_visible()
    before = page.locator("#shelf .mask").count()
    page.locator("#hub-look").click()
    found = page.locator("#hub-found li")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("user/from-the-page")
    expect(found).to_contain_text("private")
    found.get_by_role("button").click()
    card = page.locator("#imports article")
    expect(card).to_contain_text("4 layers x 8 KV heads")
    assert page.locator("#shelf .mask").count() == before
    card.get_by_role("button", name="Keep").click()
    expect(page.locator("#shelf .mask")).to_have_count(before + 1)
    assert TOKEN not in page.content()
    assert watch.errors == []
    for file in server.folder.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file
    page.close()


@pytest.mark.slow
def test_on_a_space_visitors_push_as_themselves_and_never_with_the_owners_token(
    browser: Browser, space: World
) -> None:
    server, stand_in = space

    def push(page: Page, repo: str) -> None:
        page.goto("/heads?mask=shipped")
        page.locator("#map [data-head='0.0']").wait_for()
        page.get_by_role("button", name="Use elsewhere").click()
        page.locator("#repo input, #repo textarea").fill(repo)
        page.locator("#push").click()

    page = browser.new_page(base_url=server.url)
    push(page, "user/stolen")
    expect(page.get_by_text("Sign in with Hugging Face first")).to_be_visible()
    expect(page.locator("#login")).to_contain_text("Sign in with Hugging Face")
    assert stand_in.asked == []
    page.close()

    context = browser.new_context(base_url=server.url)
    context.add_cookies([{"name": "session", "value": session_cookie(), "url": server.url}])
    page = context.new_page()
    push(page, "visitor/mine")
    expect(page.locator("#pushed a")).to_contain_text("/visitor/mine/commit/", timeout=15_000)
    push(page, "user/not-mine")
    expect(page.get_by_text("right to write")).to_be_visible()
    assert list(stand_in.repos) == ["visitor/mine"]
    assert {who for _, who in stand_in.asked} == {f"Bearer {VISITORS}"}
    assert VISITORS not in page.content()
    context.close()
