"""The stories: every step draws, and pointers, keys and the address lead through them."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ui.stories.page import stories

pytestmark = pytest.mark.browser
TOLD = stories()
DRAWN = {
    "chart": ".fig svg .bar, .fig svg .line",
    "tokens": ".tok",
    "map": ".hm-svg [data-value]",
    "race": ".race .chart svg > *",
}


def heading(page: Page) -> str:
    return page.locator(".story-text h2").inner_text()


@pytest.mark.parametrize("story", TOLD, ids=lambda story: story.key)
def test_every_step_draws_its_widgets(page: Page, story: object) -> None:
    told = TOLD[[s.key for s in TOLD].index(getattr(story, "key", ""))]
    page.goto(f"/stories?story={told.key}")
    for number, step in enumerate(told.steps, 1):
        expect(page.locator(".story-text h2")).to_have_text(step.title)
        assert page.locator(".story-words p").count() == len(step.words)
        boxes = page.locator(".story-widget")
        assert boxes.count() == len(step.widgets)
        for i, widget in enumerate(step.widgets):
            expect(boxes.nth(i)).to_be_visible()
            expect(boxes.nth(i).locator(DRAWN[widget.kind])).not_to_have_count(0)
        assert f"step={number}" in page.url
        page.locator(".story-row .main").click()


def test_pointers_keys_and_dots_lead_through(page: Page) -> None:
    first, second = TOLD[0], TOLD[1]
    page.goto("/stories")
    expect(page.locator(".story-text h2")).to_have_text(first.steps[0].title)
    expect(page.get_by_role("button", name="Back", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.locator(".story-text h2")).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert heading(page) == first.steps[2].title
    page.keyboard.press("ArrowLeft")
    assert heading(page) == first.steps[1].title
    page.locator(".story-dots button").last.click()
    assert heading(page) == first.steps[-1].title
    page.get_by_role("button", name="Next story").click()
    assert heading(page) == second.steps[0].title
    current = page.locator(".story-tabs [aria-current]")
    expect(current).to_contain_text(second.title)


@pytest.mark.slow
def test_the_address_opens_the_same_step(page: Page) -> None:
    page.goto("/stories?story=stays&step=4")
    told = next(story for story in TOLD if story.key == "stays")
    expect(page.locator(".story-text h2")).to_have_text(told.steps[3].title)
    expect(page.locator(".story-dots [aria-current=step]")).to_have_count(1)
    page.reload()
    expect(page.locator(".story-text h2")).to_have_text(told.steps[3].title)


@pytest.mark.parametrize("query", ["?story=nothing&step=99", "?story=half&step=-3", "?step=<b>"])
@pytest.mark.slow
def test_a_bad_address_opens_a_story_all_the_same(page: Page, query: str) -> None:
    page.goto(f"/stories{query}")
    expect(page.locator(".story-text h2")).not_to_be_empty()


def test_arrow_keys_belong_to_the_widget_that_has_the_focus(page: Page) -> None:
    page.goto("/stories?story=forgets&step=2")
    page.locator(".tok-list").focus()
    page.keyboard.press("ArrowRight")
    assert heading(page) == TOLD[0].steps[1].title
    expect(page.locator(".tok.here")).to_have_count(1)


def test_a_word_in_a_story_opens_its_definition(page: Page) -> None:
    page.goto("/stories?story=forgets&step=3")
    page.get_by_role("button", name="sinks").click()
    expect(page.locator(".term-card:popover-open")).to_contain_text("One of the first tokens")


def test_the_glossary_is_under_the_stories(page: Page) -> None:
    page.goto("/stories")
    expect(page.locator("#glossary dt", has_text="Sparsity")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.slow
def test_stories_fit_a_phone(context: BrowserContext, theme: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 375, "height": 760})
    for story in TOLD:
        page.goto(f"/stories?story={story.key}&__theme={theme}")
        for step in story.steps:
            expect(page.locator(".story-text h2")).to_have_text(step.title)
            assert page.evaluate("document.documentElement.scrollWidth") <= 375
            page.locator(".story-row .main").click()
