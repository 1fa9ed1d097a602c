"""The chat page: both answers in lockstep, measured, and every number that of the engine."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from rlkv.dialogue import Control, Message, Sampling, SideSpec, converse
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks.tracing import solve
from storage.masks import Masks
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
from tests.browser.conftest import Server
from ui.catalogue import shipped

pytestmark = pytest.mark.browser


def test_an_answer_is_followed_though_the_server_once_gives_nothing(page: Page) -> None:
    """As where it dies while it sends."""
    left = [2]

    def respond(route: Route) -> None:
        cut_off = left[0] > 0 and '"pull"' in (route.request.post_data or "")
        left[0] -= cut_off
        route.fulfill(
            body="null", content_type="application/json"
        ) if cut_off else route.continue_()

    open_chat(page)
    page.route("**/component_server/", respond)
    turn = ask(page, SHORT)
    assert left == [0]
    assert len(turn.locator(".token-text").first.inner_text()) > 10


@pytest.mark.clock
def test_both_sides_stream_in_lockstep_and_the_compressed_one_holds_less(
    page: Page, server: Server
) -> None:
    open_chat(page, quick=False)
    turn = ask(page, QUESTION, wait=False)
    page.wait_for_function("() => +document.querySelector('.side.s-comp').dataset.tokens > 5")
    counts = page.evaluate(
        "() => [...document.querySelectorAll('.side')].map(s => +s.dataset.tokens)"
    )
    assert abs(counts[0] - counts[1]) <= 1
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")  # nothing jumps
    points = "() => +document.querySelector('.mem .held.s-comp').dataset.points"
    first = page.evaluate(points)
    page.wait_for_function(f"n => ({points})() > n + 5", arg=first)
    assert len(turn.locator(".token-text").first.inner_text()) > 10
    ended(page)
    full, compressed = (shown(turn.locator(".side").nth(i)) for i in (0, 1))
    expect(turn.locator(".side").first.locator(".answer")).to_contain_text(solve(QUESTION)[1])
    expect(turn.locator(".side").first.locator(".verdict")).to_have_text("✓ right")
    assert 0 < compressed["bytes"] < full["bytes"]
    expect(page.locator("[data-figure=saved]")).to_contain_text("% KV saved")
    question, answer = kept(page, server)
    assert question.text == QUESTION
    assert [s["now"]["bytes"] for s in answer.answer["sides"]] == [
        full["bytes"], compressed["bytes"]
    ]  # fmt: skip


def test_every_number_equals_what_the_engine_reports(page: Page, server: Server) -> None:
    open_chat(page)
    page.locator("#sampling button").first.click()
    page.locator("#temperature input[type=number]").fill("0.7")
    page.locator("#seed input").fill("11")
    cut(page, 0.75)
    turn = ask(page, QUESTION)
    mask = shipped()
    assert mask is not None
    mask = mask.at_sparsity(0.75)
    history = (Message("user", QUESTION),)
    *_, frame = converse(
        *load_model("tracer"), [SideSpec(None, history), SideSpec(mask, history)],
        Sampling(256, temperature=0.7, seed=11),
    )  # fmt: skip
    stored = answers(page, server)[0]["sides"]
    difference = frame.differences[1]
    assert difference is not None
    assert difference.probabilities is not None
    for i, state in enumerate(frame.sides):
        page_says, kept_says = shown(turn.locator(".side").nth(i)), stored[i]
        for name, value in (
            ("tokens", state.n_tokens), ("length", state.length), ("bytes", state.kv_bytes),
            ("formula", state.kv_bytes_formula), ("stop", state.stop_reason),
        ):  # fmt: skip
            assert page_says[name] == kept_says["now"][name] == value, name
        # Times are of this run: those of the page are the ones that were kept.
        for name in ("first", "seconds", "speed"):
            assert page_says[name] == pytest.approx(kept_says["now"][name])
        assert kept_says["text"] == state.text
        columns = kept_says["cols"]
        assert columns["t"] == [token.text for token in state.tokens]
        assert columns["p"] == pytest.approx([token.probability for token in state.tokens], 1e-3)
        assert columns["k"] == [
            None if token.kl is None else pytest.approx(token.kl, 1e-2, 1e-5)
            for token in state.tokens
        ]
        assert (columns["b"][-1], columns["l"][-1]) == (state.kv_bytes, state.length)
    prefix = frame.common_prefix(1)
    assert shown(turn.locator(".side").nth(1))["prefix"] == prefix == stored[1]["prefix"]
    line = turn.locator(".same-line")
    assert line.get_attribute("data-prefix") == str(prefix)
    expect(line).to_contain_text(f"identical for the first {prefix} tokens")
    assert stored[1]["diff"]["ids"] == [token[0] for token in difference.tokens if token]
    for kept_row, row in zip(stored[1]["diff"]["p"], difference.probabilities, strict=True):
        assert kept_row == pytest.approx(row, 1e-3)
    marked = turn.locator(f"{COMPRESSED} .tk.first-other")
    assert marked.get_attribute("data-i") == str(prefix)
    # How many fit: from the bytes at the length that both have reached.
    length = min(side["cols"]["l"][-1] for side in stored)
    weights = page.evaluate("() => document.querySelector('.talk').rlkv.model.weights")
    assert weights == sum(p.nbytes for p in load_model("tracer")[0].parameters())
    for i, side in enumerate(stored):
        held = max(b for b, at in zip(side["cols"]["b"], side["cols"]["l"], strict=True)
                   if at <= length)  # fmt: skip
        fits = page.locator(f".fit-list [data-slot='{i}']").get_attribute("data-fits")
        assert int(fits or 0) == int((24e9 - weights) // held)


def test_a_token_tells_its_probability_to_pointer_and_keyboard(page: Page) -> None:
    open_chat(page)
    cut(page, 0.85)
    turn = ask(page, QUESTION)
    side = turn.locator(COMPRESSED)
    side.locator(".fold summary").click()
    other = side.locator(".tk.first-other")
    other.hover()
    card = page.locator(".tok-card")
    expect(card).to_contain_text("first token that differs")
    expect(card).to_contain_text("Full")
    expect(card).to_contain_text("KL from the first side")
    page.mouse.move(0, 0)
    expect(card).to_be_hidden()
    side.locator(".token-text").focus()
    page.keyboard.press("ArrowRight")
    expect(card).to_contain_text("token 1")
    expect(card).to_contain_text("probability")
    page.keyboard.press("End")
    expect(card).to_contain_text(f"token {shown(side)['tokens']:.0f}")


@pytest.mark.clock
def test_stop_works_at_once_and_what_was_written_is_kept(page: Page, server: Server) -> None:
    open_chat(page, quick=False)
    turn = ask(page, QUESTION, wait=False)
    page.wait_for_function("() => +document.querySelector('.side.s-comp').dataset.tokens > 5")
    pressed = time.monotonic()
    page.keyboard.press("Escape")
    expect(turn.locator(".side").first).to_have_attribute("data-stop", "stopped")
    assert time.monotonic() - pressed < 1.0
    expect(turn.locator(".ended").first).to_have_text("stopped by you")
    ended(page)
    count = shown(turn.locator(".side").first)["tokens"]
    assert count == len(answers(page, server)[0]["sides"][0]["cols"]["t"])
    # The model is free again.
    page.locator("#slowly input").uncheck()
    expect(ask(page, SHORT).locator(".side").first).to_have_attribute("data-stop", "end")


@pytest.mark.slow
def test_another_mask_while_it_writes_leaves_a_mark(page: Page, server: Server) -> None:
    open_chat(page, quick=False)
    turn = ask(page, QUESTION, wait=False)
    page.wait_for_function("() => +document.querySelector('.side.s-comp').dataset.tokens > 10")
    cut(page, 0.95)
    ended(page)
    (cut_made,) = answers(page, server)[0]["sides"][1]["breaks"]
    expect(page.locator(".mem .cut")).to_have_count(1)
    expect(page.locator(".mem svg")).to_contain_text("changed")
    side = turn.locator(COMPRESSED)
    mark = side.locator(".tk.after-cut")
    assert mark.get_attribute("data-i") == str(cut_made["at"])
    expect(side.locator(".who small")).to_contain_text("94 % of 32 heads")
    bytes_ = answers(page, server)[0]["sides"][1]["cols"]["b"]
    assert bytes_[cut_made["at"]] < bytes_[cut_made["at"] - 1]
    # The same as the engine does when it is changed there.
    mask = shipped()
    assert mask is not None
    history, control = (Message("user", QUESTION),), Control()
    frames = converse(
        *load_model("tracer"), [SideSpec(mask, history)], Sampling(256), control
    )  # fmt: skip
    for frame in frames:
        if frame.sides[0].n_tokens == cut_made["at"]:
            control.change(0, mask.at_sparsity(0.95))
    assert shown(side)["bytes"] == frame.sides[0].kv_bytes
    assert answers(page, server)[0]["sides"][1]["text"] == frame.sides[0].text


@pytest.mark.slow
def test_either_side_alone_and_three_at_once(page: Page, server: Server, tmp_path: Path) -> None:
    open_chat(page)
    choose_sides(page, "Second")
    turn = ask(page, SHORT)
    expect(turn.locator(".side")).to_have_count(1)
    expect(turn.locator(COMPRESSED)).to_be_visible()
    choose_sides(page, "Three")
    cut(page, 0.8, "sparsity-2")
    turn = ask(page, QUESTION)
    roles = [turn.locator(".side").nth(i).get_attribute("data-role") for i in range(3)]
    assert roles == ["full", "comp", "comp2"]
    alone, three = answers(page, server)
    assert [side["slot"] for side in alone["sides"]] == [1]
    assert [side["mask"] and side["mask"]["name"] for side in three["sides"]][2] == "Random heads"
    held = [shown(turn.locator(".side").nth(i))["bytes"] for i in range(3)]
    assert held == [side["now"]["bytes"] for side in three["sides"]]
    expect(page.locator(".mem .held:not(.past)")).to_have_count(3)
    page.locator(".mem .export > button").click()
    with page.expect_download() as taken:
        page.locator(".mem [data-kind=svg]").click()
    taken.value.save_as(tmp_path / "memory.svg")
    drawing = (tmp_path / "memory.svg").read_text()
    for name in page.locator(".mem-key:not(.thin) span").all_inner_texts():
        assert f">{name}, " in drawing  # the legend stands beside the picture on the page


def test_a_mask_in_the_address_is_chosen(page: Page, server: Server) -> None:
    mask = HeadMask.random(4, 8, sparsity=0.6, seed=0, sink=3, recent=21, model="tracer")
    with database(server) as db:
        key = Masks(db).save({**mask.to_record(), "name": "Mine"}).id
    open_chat(page, f"/chat?mask={key}")
    expect(page.locator("#mask input")).to_have_value(re.compile("^Mine"), timeout=10_000)
    expect(page.locator("#recent-1 input")).to_have_value("21")
    turn = ask(page, SHORT)
    expect(turn.locator(f"{COMPRESSED} .who small")).to_contain_text("3 first and 21 latest")


@pytest.mark.slow
def test_words_that_the_model_can_not_read_get_a_hint(page: Page) -> None:
    open_chat(page)
    page.locator("#question textarea").fill("What is <b>love</b>?")
    page.locator("#send").click()
    toast = page.locator(".toast-body")
    expect(toast).to_contain_text("<b>love</b>?", timeout=30_000)  # as text, not as markup
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#question textarea")).to_have_value("What is <b>love</b>?")
    expect(page.locator(".turn")).to_have_count(0)


def test_what_a_model_writes_stays_text(page: Page) -> None:
    open_chat(page)
    hostile = "<img src=x onerror=\"document.title='broken in'\">"
    page.evaluate(
        """hostile => {
          const text = rlkvChatText.create(hostile);
          document.querySelector('.talk-flow').append(text.root);
          text.push({t: ['<think>', hostile, '</think>', hostile, hostile]}, 5, '');
        }""",
        hostile,
    )
    text = page.locator(".talk-flow > .token-text")
    assert text.locator(".thought").text_content() == hostile
    assert text.locator(".answer").text_content() == hostile * 2
    assert page.locator(".talk-flow img").count() == 0
    assert page.title() != "broken in"


@pytest.mark.slow
def test_a_random_problem_is_a_fresh_one_that_can_be_solved(page: Page) -> None:
    open_chat(page)
    seen = set()
    for _ in range(2):
        before = page.locator("#question textarea").input_value()
        page.get_by_role("button", name="New random problem").click()
        expect(page.locator("#question textarea")).not_to_have_value(before)
        seen.add(page.locator("#question textarea").input_value())
    assert len(seen) == 2
    assert all(solve(problem) for problem in seen)


@pytest.mark.clock
def test_thousands_of_tokens_are_drawn_without_a_stutter(page: Page) -> None:
    open_chat(page)
    took = page.evaluate(
        """async () => {
          const side = (slot, role) => ({slot, role, name: role, hint: '', breaks: [], now: {}});
          const turn = rlkvChatTurn.create({
            user: {id: 1, text: 'q', ids: [1]}, answer: null, run: 'x', words: '',
            blind: null, sides: [side(0, 'full'), side(1, 'comp')]}, () => 0);
          document.querySelector('.talk-flow').append(turn.root);
          const took = [], size = 8, total = 4000;
          for (let n = 0; n < total; n += size) {
            const ids = [...Array(size).keys()].map(i => n + i);
            const cols = {t: ids.map(i => (i % 9 ? ' word' : '.\\n')), p: ids.map(() => 0.5),
              k: ids.map(() => 0.1), b: ids.map(i => 1000 * i), f: ids.map(i => 990 * i),
              l: ids.map(i => 40 + i), at: ids.map(i => i / 100)};
            const now = {tokens: n + size, bytes: 1000 * n, stop: null};
            const began = performance.now();
            turn.feed(0, {from: n, cols, now});
            turn.feed(1, {from: n, cols, now, prefix: n + size});
            turn.settleSame();
            turn.root.parentElement.offsetHeight;  // the layout counts too
            took.push(performance.now() - began);
          }
          return took;
        }"""
    )
    assert page.locator(".tk").count() == 8000
    late = sorted(took[-100:])
    assert late[50] < 16, f"a frame takes {late[50]:.1f} ms when the answer is long"
