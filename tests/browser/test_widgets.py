"""Charts, token texts, words and the export menu, each with real pointers and keys."""

from __future__ import annotations

import csv
import io
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import Watch, watched
from tests.browser.gallery import HOSTILE, LONG, QUERY, STEPS, TEXT, WINDOW, pattern, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(tmp_path_factory.mktemp("gallery")) as url:
        yield url


@pytest.fixture
def visitor(browser: Browser, address: str, watch: Watch) -> Iterator[BrowserContext]:
    with watched(browser, address, watch, width=1200) as context:
        yield context


@pytest.fixture
def page(visitor: BrowserContext) -> Page:
    page = visitor.new_page()
    page.goto("/")
    page.wait_for_selector("#long .tok")
    return page


# --- charts -------------------------------------------------------------------------------------


def test_pointing_at_a_chart_reads_it_out(page: Page) -> None:
    picture = page.locator("#bars svg")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    picture.hover(position={"x": box["width"] / 2, "y": 80})
    expect(page.locator("#bars output")).to_have_text("distance mid: recent 20 % · far 10 %")
    page.mouse.move(0, 0)
    expect(page.locator("#bars output")).to_have_text("")


def test_arrow_keys_walk_along_x(page: Page) -> None:
    page.locator("#lines svg").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#lines output")).to_have_text("step 0: gate 0.1 · reward 1")
    page.keyboard.press("End")
    expect(page.locator("#lines output")).to_have_text("step 20: gate 0.35 · reward 9")
    expect(page.locator("#lines output")).to_have_attribute("aria-live", "polite")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#lines output")).to_contain_text("step 20")
    page.keyboard.press("Escape")
    expect(page.locator("#lines output")).to_have_text("")


def test_a_new_value_redraws(page: Page) -> None:
    first = page.locator("#bars .bar").nth(0).get_attribute("data-title")
    page.locator("#more").click()
    expect(page.locator("#bars .bar").nth(0)).not_to_have_attribute("data-title", first or "")
    page.locator("#bars svg").focus()
    page.keyboard.press("Home")
    expect(page.locator("#bars output")).to_have_text("distance near: recent 20 % · far 0 %")


def test_a_screen_reader_gets_words_and_a_table(page: Page) -> None:
    picture = page.locator("#stack svg")
    assert picture.get_attribute("role") == "img"
    assert picture.get_attribute("aria-label") == "Looks: sinks 25 %, far 75 %"
    rows = page.locator("#lines table tr")
    assert rows.count() == 1 + len(STEPS)
    assert rows.nth(1).locator("th, td").all_inner_texts() == ["0", "0.1", "1"]


@pytest.mark.parametrize("width", [320, 1200])
def test_charts_fit_their_place(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll('.fig svg text')].filter((t) => {
          const box = t.ownerSVGElement.getBoundingClientRect(), r = t.getBoundingClientRect();
          return r.left < box.left - 3 || r.right > box.right + 3;
        }).map((t) => t.textContent)"""
    )
    assert outside == []


def test_the_key_of_a_dotted_line_is_a_dot(page: Page) -> None:
    keys = page.locator("#dotted .key")
    assert keys.evaluate_all("keys => keys.map(key => key.tagName)") == ["rect", "circle"]


def test_text_stays_text(page: Page) -> None:
    assert page.locator("#lines figcaption b").inner_text() == HOSTILE
    assert page.locator("#text .tok").nth(4).inner_text() == HOSTILE
    assert page.locator(".fig img, .toks img").count() == 0
    assert page.title() != "broken in"


# --- tokens -------------------------------------------------------------------------------------


def roles(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('#text .tok')].map((t) => t.dataset.role)"
    )
    return found


def test_pointing_at_a_token_shows_where_it_looks(page: Page) -> None:
    token = page.locator("#text .tok").nth(20)
    token.hover()
    expect(token).to_have_attribute("data-role", "query")
    sink, recent = WINDOW
    wanted = ["sink" if j < sink else "far" if 20 - j >= recent else "recent" for j in range(20)]
    assert roles(page) == [*wanted, "query", *["later"] * (len(TEXT) - 21)]
    row = pattern(len(TEXT))[20]
    depth = page.evaluate(
        "[...document.querySelectorAll('#text .tok')].map((t) => +t.style.getPropertyValue('--w'))"
    )
    expected = (row / max(row.max(), (64 / 255) ** 2)) ** 0.5
    assert depth == pytest.approx(list(expected), abs=0.01)
    far = 100 * row[2:15].sum()
    said = page.locator("#text output").inner_text()
    assert said.endswith("%")
    assert float(said.split("far ")[1].split(" ")[0]) == pytest.approx(far, abs=1.5)
    page.mouse.move(0, 0)
    expect(page.locator("#text .tok").nth(QUERY)).to_have_attribute("data-role", "query")


def test_a_click_holds_a_token_and_tells_the_server(page: Page) -> None:
    page.locator("#text .tok").nth(25).click()
    expect(page.locator("#picked textarea, #picked input")).to_have_value("picked 25")
    page.locator("#text .tok").nth(10).hover()
    expect(page.locator("#text .tok").nth(25)).to_have_attribute("data-role", "query")
    card = page.locator("#text .tok-card")
    expect(card).to_contain_text("of the attention of “w25” (25)")
    expect(card).to_contain_text("far: only a full cache has it")
    expect(card).to_contain_text("tip of")
    page.locator("#text .tok").nth(25).click()
    page.locator("#text .tok").nth(10).hover()
    expect(page.locator("#text .tok").nth(10)).to_have_attribute("data-role", "query")


def test_keys_walk_over_tokens(page: Page) -> None:
    box = page.locator("#text .tok-list")
    box.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("#text .tok").nth(2)).to_have_class("tok blank-tok here")
    assert page.locator("#text .tok").nth(2).get_attribute("aria-label") == "new line"
    active = box.get_attribute("aria-activedescendant")
    assert active == page.locator("#text .tok").nth(2).get_attribute("id")
    page.keyboard.press("ArrowDown")
    below = page.locator("#text .tok.here").bounding_box()
    above = page.locator("#text .tok").nth(2).bounding_box()
    assert below is not None
    assert above is not None
    assert below["y"] > above["y"] + 5
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#picked textarea, #picked input")).to_have_value(f"picked {len(TEXT) - 1}")
    expect(page.locator("#text [aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#text [aria-selected=true]")).to_have_count(0)


def test_white_space_is_visible(page: Page) -> None:
    assert page.locator("#text .tok").nth(2).inner_text() == "↵"
    assert page.locator("#text .tok").nth(3).inner_text() == "⇥"


def test_the_first_changed_token_is_marked_with_both_candidates(page: Page) -> None:
    changed = page.locator("#kl .tok[data-role=changed]")
    expect(changed).to_have_count(1)
    changed.hover()
    card = page.locator("#kl .tok-card")
    expect(card).to_contain_text("KL 2.5 nats")
    expect(card).to_contain_text("full: “x” 50.0 %")
    expect(card).to_contain_text("compressed: “x” 50.0 %")


@pytest.mark.clock
def test_a_long_text_follows_the_pointer_at_once(page: Page) -> None:
    assert page.locator("#long .tok").count() == LONG
    spent = page.evaluate(
        """() => {
          const all = [...document.querySelectorAll('#long .tok')], began = performance.now();
          for (let k = 0; k < 20; k++) {
            const data = { bubbles: true, pointerType: 'mouse' };
            all[(k * 397) % all.length].dispatchEvent(new PointerEvent('pointerover', data));
            all[0].getBoundingClientRect();
          }
          return (performance.now() - began) / 20;
        }"""
    )
    print(f"{spent:.1f} ms for a hover over {LONG} tokens")
    assert spent < 100  # ms; a pointer feels bound to the picture up to here


# --- words --------------------------------------------------------------------------------------


def test_a_word_opens_its_definition_in_place(page: Page) -> None:
    word = page.get_by_role("button", name="gates")
    word.focus()
    page.keyboard.press("Enter")
    card = page.locator(".term-card:popover-open")
    expect(card).to_contain_text("A number from 0 to 1")
    there, here = card.bounding_box(), word.bounding_box()
    assert there is not None
    assert here is not None
    assert 0 <= there["y"] - (here["y"] + here["height"]) < 20
    page.keyboard.press("Escape")
    expect(page.locator(".term-card:popover-open")).to_have_count(0)
    page.get_by_role("button", name="sinks").click()
    expect(page.locator(".term-card:popover-open")).to_contain_text("first tokens")
    page.mouse.click(600, 700)
    expect(page.locator(".term-card:popover-open")).to_have_count(0)


# --- export -------------------------------------------------------------------------------------


def export(page: Page, widget: str, kind: str, folder: Path) -> tuple[str, bytes]:
    page.locator(f"#{widget} .export > button").click()
    with page.expect_download() as waiting:
        page.locator(f"#{widget} .menu [data-kind={kind}]").click()
    path = folder / f"{widget}.{kind}"
    waiting.value.save_as(path)
    return waiting.value.suggested_filename, path.read_bytes()


def test_export_as_drawing_needs_no_stylesheet(page: Page, tmp_path: Path) -> None:
    name, data = export(page, "lines", "svg", tmp_path)
    assert name == "a-b.svg"
    root = ET.fromstring(data)
    text = data.decode()
    assert "var(--" not in text
    assert "class=" not in text
    assert HOSTILE in "".join(root.itertext())
    space = "{http://www.w3.org/2000/svg}"
    assert root.findall(f".//{space}title")
    assert not root.findall(f".//{space}img")
    assert "rgb(37, 99, 201)" in text  # blue of the full cache


def test_export_as_picture_has_twice_the_pixels(page: Page, tmp_path: Path) -> None:
    name, data = export(page, "stack", "png", tmp_path)
    assert name == "looks.png"
    width, height = struct.unpack(">II", data[16:24])
    shown = page.locator("#stack svg").bounding_box()
    assert shown is not None
    assert width == pytest.approx(2 * (shown["width"] + 24), abs=3)
    assert height == pytest.approx(2 * (shown["height"] + 24 + 30), abs=3)


def test_export_as_table_is_safe_to_open(page: Page, tmp_path: Path) -> None:
    name, data = export(page, "text", "csv", tmp_path)
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert name == "text.csv"
    assert rows[0] == ["token", "text", "role", f"weight from {QUERY}", "more"]
    assert len(rows) == 1 + len(TEXT)
    assert rows[1][1] == "'=SUM(A1)"  # never a formula
    assert rows[3][1] == "\n"
    assert rows[5][1] == HOSTILE
    assert float(rows[1 + 9][3]) == pytest.approx(pattern(len(TEXT))[QUERY, 9], abs=0.005)


def test_export_as_page_stands_alone(visitor: BrowserContext, page: Page, tmp_path: Path) -> None:
    name, data = export(page, "text", "html", tmp_path)
    assert name == "text.html"
    alone = visitor.new_page()
    alone.set_content(data.decode())
    assert alone.locator("tbody tr").count() == len(TEXT)
    assert alone.locator("svg rect title").count() > 0
    assert alone.locator("img").count() == 0
    assert HOSTILE in (alone.locator("tbody").text_content() or "")


def test_the_export_menu_works_by_keys(page: Page) -> None:
    button = page.locator("#bars .export > button")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#bars .menu [data-kind=png]")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#bars .menu [data-kind=svg]")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#bars .menu [data-kind=csv]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#bars .menu")).to_be_hidden()
    expect(button).to_be_focused()
    with page.expect_download() as waiting:
        for key in ("Enter", "End", "Enter"):
            page.keyboard.press(key)
    assert waiting.value.suggested_filename == "bars.csv"
