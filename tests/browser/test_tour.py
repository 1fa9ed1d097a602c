"""The tour: it never pushes itself on anybody, and leads by pointer and by keys."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ui.components.tour import STOPS

pytestmark = pytest.mark.browser
A_PERSON = "Object.defineProperty(navigator, 'webdriver', { get: () => false })"


def at(page: Page, title: str) -> None:
    expect(page.locator(".tour-card h2")).to_have_text(title, timeout=20_000)


def lit(page: Page, selector: str) -> None:
    """Waits until the page has scrolled there and the ring is around it, the card in sight."""
    page.wait_for_function(
        """selector => {
          const box = (s) => document.querySelector(s).getBoundingClientRect();
          const [ring, thing, card] = [".tour-ring", selector, ".tour-card"].map(box);
          return thing.top < innerHeight && thing.bottom > 0
            && Math.abs(ring.top + 6 - thing.top) < 3
            && Math.abs(ring.width - 12 - thing.width) < 3
            && card.top >= 0 && card.bottom <= innerHeight;
        }""",
        arg=selector,
        timeout=10_000,
    )


@pytest.mark.slow
def test_it_does_not_show_under_automation(page: Page) -> None:
    page.goto("/heads")
    page.wait_for_selector("#map .hm-svg")
    page.wait_for_timeout(2500)
    expect(page.locator(".tour, .tour-invite")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/heads", "Heads"),
        ("/", "Overview"),
        ("/chat", "Chat"),
        ("/evaluate", "Evaluate"),
        ("/masks", "Masks"),
    ],
)
@pytest.mark.slow
def test_every_stop_is_on_the_page_and_lit(page: Page, path: str, name: str) -> None:
    page.goto(f"{path}?tour=1")
    for number, stop in enumerate(STOPS[name], 1):
        at(page, stop.title)
        expect(page.locator(".tour-row small")).to_have_text(f"{number} of {len(STOPS[name])}")
        lit(page, stop.selector)
        if number < len(STOPS[name]):
            page.get_by_role("button", name="Next", exact=True).click()
    assert "tour=" not in page.url


@pytest.mark.slow
def test_the_ring_follows_what_moves_while_nobody_scrolls(page: Page) -> None:
    page.goto("/heads?tour=1")
    at(page, STOPS["Heads"][0].title)
    lit(page, STOPS["Heads"][0].selector)
    page.evaluate("document.querySelector('#map').parentElement.style.marginTop = '90px'")
    lit(page, STOPS["Heads"][0].selector)


@pytest.mark.slow
def test_keys_lead_and_escape_ends_it_for_good(page: Page) -> None:
    first, second = STOPS["Heads"][:2]
    page.goto("/heads?tour=1")
    at(page, first.title)
    expect(page.locator(".tour-card h2")).to_be_focused()
    page.keyboard.press("ArrowRight")
    at(page, second.title)
    page.evaluate("document.activeElement.blur()")  # nothing has the focus
    page.keyboard.press("ArrowLeft")
    at(page, first.title)
    page.keyboard.press("Escape")
    expect(page.locator(".tour")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('rlkv-tour')") == "seen"


@pytest.mark.slow
def test_the_page_stays_usable_under_it(page: Page) -> None:
    page.goto("/heads?tour=1")
    at(page, STOPS["Heads"][0].title)
    page.locator('#map [aria-label^="Layer 3, KV head 0"]').click()
    expect(page.locator("#panel .one")).to_have_attribute("data-head", "3.0")


@pytest.mark.slow
def test_the_focus_goes_back_to_where_it_was(page: Page) -> None:
    page.goto("/heads")
    link = page.locator('.top nav a[href="./train"]')
    page.wait_for_selector("#map .hm-svg")
    page.wait_for_function("window.rlkvTour")
    link.focus()
    page.wait_for_timeout(500)
    page.evaluate("rlkvTour.start()")
    at(page, STOPS["Heads"][0].title)
    page.keyboard.press("Escape")
    expect(link).to_be_focused()


@pytest.mark.slow
def test_a_newcomer_is_invited_once(context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script(A_PERSON)
    page.goto("/")
    invitation = page.get_by_role("complementary", name="A short tour")
    expect(invitation).to_contain_text("New here?", timeout=20_000)
    expect(page.locator(".tour")).to_have_count(0)
    invitation.get_by_role("button", name="No, thanks").click()
    expect(invitation).to_have_count(0)
    page.goto("/heads")
    page.wait_for_selector("#map .hm-svg")
    page.wait_for_timeout(2500)
    expect(page.locator(".tour-invite")).to_have_count(0)


def test_an_invitation_accepted_leads_from_page_to_page(context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script(A_PERSON)
    page.goto("/")
    page.get_by_role("button", name="Take the tour").last.click()
    for stop in STOPS["Overview"]:
        at(page, stop.title)
        page.locator(".tour-card .main").click()
    page.wait_for_url("**/heads**")
    at(page, STOPS["Heads"][0].title)


@pytest.mark.slow
def test_it_stands_still_for_those_who_want_that(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto("/heads?tour=1")
    at(page, STOPS["Heads"][0].title)
    moves = page.locator(".tour-ring").evaluate("e => getComputedStyle(e).transitionDuration")
    assert moves == "0s"
