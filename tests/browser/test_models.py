"""The model picker with real clicks and keys: what is shown, loaded, cancelled, unloaded."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from playwright.sync_api import TimeoutError as TooLate

from tests.browser.conftest import Watch, watched
from tests.browser.gallery import serve

pytestmark = pytest.mark.browser

RANDOM = "random:llama-135m"
SMOL = "SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(tmp_path_factory.mktemp("picker"), "tests.browser.picker_page") as url:
        yield url


@pytest.fixture
def visitor(browser: Browser, address: str, watch: Watch) -> Iterator[BrowserContext]:
    with watched(browser, address, watch, patience_ms=60_000) as context:
        yield context


@pytest.fixture
def page(visitor: BrowserContext) -> Page:
    return opened(visitor)


def opened(visitor: BrowserContext) -> Page:
    page = visitor.new_page()
    page.goto("/")
    expect(fact(page, "memory")).to_contain_text("float32", timeout=60_000)
    return page


def fact(page: Page, name: str, picker: str = "chat") -> Locator:
    return page.locator(f"#{picker}-facts [data-fact={name}]")


def state(page: Page) -> Locator:
    return page.locator("#chat-state [data-state]")


def choose(page: Page, ref: str, picker: str = "chat") -> None:
    """Types a reference and presses Enter."""
    field = page.locator(f"#{picker}-model input")
    field.fill(ref)
    field.press("Enter")


def test_the_embedded_model_is_described(page: Page) -> None:
    expect(fact(page, "parameters")).to_have_text("1.0 million")
    expect(fact(page, "gates")).to_have_text("4 x 8 = 32")
    expect(fact(page, "memory")).to_have_text("4 MB in float32")
    expect(fact(page, "need")).to_have_text(
        re.compile(r"^5 MB to load, 8 MB with 1,024 tokens of full cache: fits$")
    )
    expect(fact(page, "place")).to_have_text("comes with the app")


def test_a_model_of_the_list_is_picked_and_its_download_named(page: Page) -> None:
    page.locator("#chat-model input").click()
    page.get_by_role("option", name=SMOL).click()
    expect(fact(page, "gates")).to_have_text("30 x 3 = 90")
    expect(fact(page, "place")).to_have_text("a download of 269 MB")
    expect(page.locator("#chat-facts .warn")).to_contain_text("not on this machine")
    expect(page.locator("#chat-load")).to_be_disabled()


def test_what_is_pasted_into_the_chooser_takes_the_place_of_what_it_said(page: Page) -> None:
    field = page.locator("#chat-model input")
    field.click()
    page.keyboard.insert_text("/no/model.gguf")
    page.keyboard.press("Enter")
    expect(field).to_have_value("/no/model.gguf")
    expect(page.locator("#chat-facts")).to_contain_text("There is no model '/no/model.gguf'")
    field.blur()
    field.click()
    field.click()  # again: to put the cursor somewhere
    page.keyboard.press("End")
    page.keyboard.insert_text("2")
    expect(field).to_have_value("/no/model.gguf2")


def test_what_is_read_of_a_model_moves_nothing_below_it(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    expect(fact(page, "need")).to_contain_text("of full cache")
    facts = page.locator("#chat-facts .model-facts")
    high = "e => e.getBoundingClientRect().height"
    known = facts.evaluate(high)
    facts.evaluate(
        "e => ['memory', 'place', 'need'].forEach(name => {"
        " e.querySelector(`[data-fact=${name}]`).textContent = '-'; })"
    )
    assert facts.evaluate(high) == known


@pytest.mark.slow
def test_a_model_is_loaded_seen_in_another_tab_and_unloaded(
    page: Page, visitor: BrowserContext
) -> None:
    choose(page, RANDOM)
    expect(fact(page, "gates")).to_have_text("30 x 3 = 90")
    page.locator("#chat-load").click()
    expect(page.locator("#chat-state .meter.unknown")).to_be_visible(timeout=20_000)
    expect(state(page)).to_have_attribute("data-state", "ready", timeout=60_000)
    expect(fact(page, "need")).to_contain_text("loaded")
    expect(page.locator("#told")).to_have_text(f"ready: {RANDOM}")

    other = opened(visitor)
    choose(other, RANDOM)
    expect(state(other)).to_have_attribute("data-state", "ready", timeout=60_000)
    expect(other.locator("#told")).to_have_text(f"ready: {RANDOM}")
    page.locator("#chat-unload").click()
    expect(state(page)).to_have_attribute("data-state", "absent")
    expect(page.locator("#told")).to_have_text("ready: None")
    expect(state(other)).to_have_attribute("data-state", "absent", timeout=20_000)
    expect(other.locator("#told")).to_have_text("ready: None", timeout=20_000)


@pytest.mark.slow
def test_loading_is_cancelled(page: Page) -> None:
    choose(page, RANDOM)
    for _ in range(5):  # it takes two seconds to load: a busy machine may be too late to cancel
        page.locator("#chat-load").click()
        try:
            page.locator("#chat-cancel").click(timeout=10_000)
            break
        except TooLate:
            page.locator("#chat-unload").click()
    expect(state(page)).to_have_attribute("data-state", re.compile("unloading|absent"))
    expect(state(page)).to_have_attribute("data-state", "absent", timeout=60_000)
    expect(page.locator("#chat-load")).to_be_enabled()
    expect(page.locator("#told")).to_have_text("")


def test_what_is_no_model_is_said_in_place_and_stays_text(page: Page) -> None:
    choose(page, "/nowhere/<b>at all</b>")
    expect(page.locator("#chat-facts .warn")).to_contain_text("'/nowhere/<b>at all</b>'")
    expect(page.locator("#chat-load")).to_be_disabled()
    choose(page, "tracer")
    expect(fact(page, "gates")).to_have_text("4 x 8 = 32")
    expect(page.locator("#chat-load")).to_be_enabled()


def test_a_picker_that_only_shows_has_no_buttons(page: Page) -> None:
    choose(page, RANDOM, "eval")
    expect(fact(page, "gates", "eval")).to_have_text("30 x 3 = 90")
    expect(fact(page, "memory", "eval")).to_contain_text("538 MB in float32")
    for button in ("load", "cancel", "unload"):
        expect(page.locator(f"#eval-{button}")).to_have_count(0)
    expect(page.locator("#eval-state")).to_have_text("")


@pytest.mark.parametrize("width", [320, 390, 1440])
@pytest.mark.slow
def test_it_fits_its_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    choose(page, "deepseek-ai/DeepSeek-R1-Distill-Llama-8B")
    expect(fact(page, "gates")).to_have_text("32 x 8 = 256")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
