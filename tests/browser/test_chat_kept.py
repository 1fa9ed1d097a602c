"""Conversations: branches, names, forks, blind votes, files, replays without a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Response, expect

from storage.chats import Chats
from storage.votes import Votes
from tests.browser.chat import (
    COMPRESSED,
    QUESTION,
    SHORT,
    answers,
    ask,
    choose_sides,
    cut,
    database,
    ended,
    kept,
    open_chat,
    shown,
)
from tests.browser.conftest import Server, Watch
from ui.chat.kept import Kept

pytestmark = pytest.mark.browser
OTHER = "d=2; a=9; f:d+a; h:f-d; ?h"


@pytest.mark.slow
def test_questions_and_answers_branch_and_nothing_is_lost(page: Page, server: Server) -> None:
    open_chat(page)
    ask(page, SHORT)
    ask(page, OTHER)
    turns = page.locator(".turn")
    # Answered again: the second version is open, the first is kept.
    cut(page, 0.9)
    turns.nth(0).get_by_role("button", name="Regenerate").click()
    expect(turns).to_have_count(1)
    ended(page)
    expect(turns.nth(0).locator(".foot .versions")).to_contain_text("2/2")
    hint = turns.nth(0).locator(f"{COMPRESSED} .who small")
    expect(hint).to_contain_text("88 %")
    turns.nth(0).get_by_role("button", name="Previous version of this answer").click()
    expect(turns).to_have_count(2)
    expect(hint).to_contain_text("50 %")
    expect(turns.nth(1).locator(".bubble .words")).to_have_text(OTHER)
    # Another question in the place of the second.
    turns.nth(1).get_by_role("button", name="Edit").click()
    turns.nth(1).locator(".editing textarea").fill(QUESTION)
    turns.nth(1).locator(".editing textarea").press("Enter")
    expect(turns.nth(1).locator(".bubble .words")).to_have_text(QUESTION)
    ended(page)
    expect(turns.nth(1).locator(".tools .versions")).to_contain_text("2/2")
    turns.nth(1).get_by_role("button", name="Previous version of this question").click()
    expect(turns.nth(1).locator(".bubble .words")).to_have_text(OTHER)
    assert [node.text for node in kept(page, server) if node.role == "user"] == [SHORT, OTHER]


@pytest.mark.slow
def test_a_reload_opens_the_same_conversation_and_it_goes_on_with_its_model(
    page: Page, server: Server
) -> None:
    """Also where the page has another model chosen by then, or is opened without any."""
    open_chat(page)
    ask(page, SHORT)
    with database(server) as db:
        keeper = Kept(Chats(db), Votes(db))
        own = page.locator("#talk .talk").get_attribute("data-chat") or ""
        nodes = [replace(one, answer={**one.answer, "model": "other/model"} if one.answer else {})
                 for one in keeper.everything(own)]  # fmt: skip
        other = keeper.bring("other/model", "Another's", nodes, None)
    page.reload()
    expect(page.locator(".turn")).to_have_count(1)
    model = page.locator("#chat-model input")
    expect(model).to_have_value("tracer · embedded")
    page.locator(f".chats [data-chat='{other}'] .open").click()
    expect(model).to_have_value("other/model")
    assert f"chat={other}" in page.url
    page.reload()
    expect(page.locator(".turn")).to_have_count(1)
    expect(model).to_have_value("other/model")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    page.wait_for_function("!location.search.includes('chat=')")


@pytest.mark.slow
def test_a_conversation_is_named_forked_reopened_and_deleted(page: Page, server: Server) -> None:
    open_chat(page)
    ask(page, SHORT)
    first = page.locator("#talk .talk").get_attribute("data-chat")
    row = page.locator(f".chats [data-chat='{first}']")
    expect(row).to_contain_text(SHORT)
    row.hover()
    row.get_by_role("button", name="Rename").click()
    row.locator("input").fill("My <b>puzzle</b>")
    row.locator("input").press("Enter")
    expect(row.locator(".open b").first).to_have_text("My <b>puzzle</b>")
    page.locator(".turn").get_by_role("button", name="Fork").click()
    expect(page.locator(".chats .open[aria-current] b")).to_have_text("Fork: My <b>puzzle</b>")
    ask(page, OTHER)
    # Opened again after a reload: one turn here, two in the fork, with their tokens.
    open_chat(page, f"/chat?chat={first}")
    expect(page.locator(".turn")).to_have_count(1)
    expect(page.locator(".side .tk").first).to_be_attached()
    assert int(page.locator(".mem .held").first.get_attribute("data-points") or 0) > 10
    row.hover()
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("button", name="Delete").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(row).to_have_count(0)
    with database(server) as db:
        assert first not in [chat.id for chat in Kept(Chats(db), Votes(db)).list()]


def test_a_blind_comparison_gives_nothing_away_before_the_vote(page: Page, server: Server) -> None:
    sent: list[dict[str, Any]] = []

    def listen(response: Response) -> None:
        if "component_server" in response.url and response.ok:
            sent.append(response.json())

    open_chat(page)
    cut(page, 0.9)
    page.locator("#blind input").check()
    page.on("response", listen)
    turn = ask(page, QUESTION)
    page.wait_for_timeout(300)
    pulled = [answer for answer in sent if answer.get("state") and answer["sides"]]
    assert pulled
    for answer in pulled:
        for place, side in enumerate(answer["sides"]):
            assert (side["slot"], side["role"], side["name"]) == (place, "ab"[place], "AB"[place])
            assert set(side["now"]) <= {"tokens", "stop"}
            assert set(side["cols"]) == {"t"}
            assert not side["hint"]
            assert side.get("diff") is None or side["diff"]["p"] is None
            assert "mask" not in side
        assert ["prefix" in side for side in answer["sides"]] == [False, True]
    order = answers(page, server)[0]["order"]
    words = turn.inner_text() + json.dumps(
        turn.evaluate("node => [...node.querySelectorAll('*')].map(n => ({...n.dataset}))")
    )
    for secret in ("Full", "Compressed", "KiB", "heads", "wrong", "comp", "full"):
        assert secret not in words, secret
    expect(page.locator(".mem")).to_contain_text("Hidden until the vote")
    assert page.locator(".mem .held").count() == 0
    # Asking on, or taking the file away, is refused until it is decided.
    page.locator("#question textarea").fill(SHORT)
    page.locator("#send").click()
    expect(page.locator(".toast-body")).to_contain_text("Vote first")
    turn.get_by_role("button", name="Vote: A").click()
    expect(turn).to_contain_text("You voted for A.")
    names = ["Full", "Compressed"]
    expect(turn).to_contain_text(f"A was {names[order[0]]}, B was {names[order[1]]}.")
    expect(turn.locator(COMPRESSED)).to_contain_text("heads compressed")
    row = page.locator("#tally li").first
    won, lost = (row.get_attribute(f"data-{name}") for name in ("won", "lost"))
    assert (won, lost) == (("1", "0") if names[order[0]] == "Compressed" else ("0", "1"))
    expect(turn.get_by_role("button", name="Vote: A")).to_have_count(0)


@pytest.mark.slow
def test_a_file_is_brought_back_and_played_without_a_server(
    context: BrowserContext, page: Page, watch: Watch, tmp_path: Path
) -> None:
    open_chat(page)
    cut(page, 0.85)
    ask(page, QUESTION)
    before = [shown(page.locator(".side").nth(i)) for i in (0, 1)]
    for kind in ("md", "json"):
        with page.expect_download() as download:
            page.locator(f"#save-{kind}").click()
        download.value.save_as(tmp_path / f"chat.{kind}")
    markdown = (tmp_path / "chat.md").read_text()
    assert QUESTION in markdown
    assert f"{before[1]['bytes']:,.0f}" in markdown
    page.locator("#new-chat").click()
    expect(page.locator(".turn")).to_have_count(0)
    bring(page, tmp_path / "chat.json")
    expect(page.locator(".turn")).to_have_count(1)
    expect(page.locator(".chats .open[aria-current]")).to_contain_text("imported")
    after = [shown(page.locator(".side").nth(i)) for i in (0, 1)]
    assert after == before
    expect(page.locator(".side .tk").first).to_be_attached()
    watch.server_away = True
    context.set_offline(True)  # from here on there is no server
    page.locator(".turn").get_by_role("button", name="Replay").click()
    first, second = _tokens(page), 0
    page.wait_for_function("() => +document.querySelector('.side').dataset.tokens > 5")
    page.get_by_role("button", name="Pause").click()
    second = _tokens(page)
    assert first < second < before[0]["tokens"]
    assert shown(page.locator(".side").first)["bytes"] < before[0]["bytes"]
    page.get_by_label("Time of the replay").fill("0.5")
    assert 5 <= _tokens(page) <= 13  # half a second at 25 tokens a second
    page.locator(".replay-bar").get_by_role("button", name="Close").click()
    assert [shown(page.locator(".side").nth(i)) for i in (0, 1)] == before


@pytest.mark.slow
def test_a_file_that_is_none_is_refused(page: Page, tmp_path: Path) -> None:
    open_chat(page)
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"rlkv_chat": 1, "messages": []}))
    bring(page, path)
    expect(page.locator(".toast-body")).to_contain_text("can't be read")


def test_recordings_play_on_an_empty_page(page: Page) -> None:
    page.goto("/chat")
    page.locator(".record", has_text="Learned heads against random ones").click()
    sides = page.locator(".turn .side")
    expect(sides).to_have_count(3)
    page.wait_for_function("() => +document.querySelector('.side').dataset.tokens > 5")
    page.get_by_label("Time of the replay").fill("60")
    expect(sides.nth(0).locator(".verdict")).to_have_text("✓ right")
    expect(sides.nth(1).locator(".verdict")).to_have_text("✓ right")
    expect(sides.nth(2).locator(".verdict")).to_have_text("✗ wrong")
    for name in ("Edit", "Fork", "Regenerate"):  # what ships stays as it is
        expect(page.locator(".turn").get_by_role("button", name=name)).to_have_count(0)


@pytest.mark.slow
def test_the_first_side_alone_reads_its_own_answers(page: Page, server: Server) -> None:
    """Turns with different sides: each side reads what it said, else what the first one said."""
    open_chat(page)
    page.locator("#sampling button").first.click()
    page.locator("#remember input").check()
    choose_sides(page, "First")
    ask(page, SHORT)
    alone = answers(page, server)[0]["sides"][0]["now"]
    choose_sides(page, "Both")
    ask(page, OTHER)
    both = answers(page, server)[1]["sides"]
    assert both[0]["now"]["prompt"] == both[1]["now"]["prompt"] > alone["prompt"]
    assert both[0]["now"]["reused"] > 0  # the cache of the first turn was still there


def bring(page: Page, path: Path) -> None:
    """Imports a file."""
    with page.expect_file_chooser() as chooser:
        page.locator("#import-chat").click()
    chooser.value.set_files(path)


def _tokens(page: Page) -> int:
    return int(shown(page.locator(".side").first).get("tokens", 0))
