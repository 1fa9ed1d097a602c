"""Editing a mask by hand: paint, undo, layers, budget, a new mask that knows its parent."""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from rlkv.masks import HeadMask
from storage.database import Database
from storage.masks import Masks
from tests.browser.head_map import (
    HEADS,
    LAYERS,
    cell,
    centre,
    click_cell,
    drag,
    figure,
    grid,
    kept,
    panel,
    set_sparsity,
    values,
    view,
    wait_for_kept,
)

pytestmark = pytest.mark.browser


@pytest.fixture
def mask() -> HeadMask:
    """The first two of four layers are kept."""
    scores = np.linspace(1.0, 0.0, LAYERS * HEADS).reshape(LAYERS, HEADS)
    return HeadMask.from_scores(
        scores, sparsity=0.5, sink=4, recent=16, model="tracer", name="To edit"
    )


@pytest.fixture
def key(db: Database, mask: HeadMask) -> str:
    return Masks(db).save(mask.to_record()).id


@pytest.fixture
def editor(page: Page, key: str) -> Page:
    """The page with that mask, Edit switched on."""
    page.goto(f"/heads?mask={key}")
    wait_for_kept(page, 16)
    page.get_by_label("Edit: drag over cells").check()
    expect(grid(page)).to_have_attribute("aria-readonly", "false")
    return page


def expect_kept(page: Page, count: int) -> None:
    """Both the picture, which paints at once, and the server's figures."""
    wait_for_kept(page, count)
    expect(figure(page, "kept")).to_have_text(f"{count} of 32")


def test_a_drag_keeps_what_was_compressed(editor: Page) -> None:
    drag(editor, (2, 1), (2, 4))
    expect_kept(editor, 20)
    assert kept(editor)[2] == [False, True, True, True, True, False, False, False]
    expect(panel(editor, 2, 4)).to_contain_text("kept")


def test_the_first_cell_decides(editor: Page) -> None:
    drag(editor, (1, 3), (2, 3))  # from a kept one into the compressed ones
    expect_kept(editor, 15)
    assert not kept(editor)[1][3]
    assert not kept(editor)[2][3]


@pytest.mark.slow
def test_a_fast_drag_leaves_no_holes(editor: Page) -> None:
    drag(editor, (3, 0), (3, 7))
    expect_kept(editor, 24)
    assert all(kept(editor)[3])


@pytest.mark.slow
def test_strokes_one_after_another_are_all_taken(editor: Page) -> None:
    for head in range(8):
        drag(editor, (2, head), (3, head))
    expect_kept(editor, 32)
    for _ in range(3):
        editor.get_by_role("button", name="Undo").click()
    expect_kept(editor, 26)


def test_undo_and_redo_by_buttons_and_keys(editor: Page, mask: HeadMask) -> None:
    undo, redo = (editor.get_by_role("button", name=n, exact=True) for n in ("Undo", "Redo"))
    expect(undo).to_be_disabled()
    drag(editor, (2, 0), (2, 2))
    expect_kept(editor, 19)
    click_cell(editor, 0, 0)
    expect_kept(editor, 18)
    undo.click()
    expect_kept(editor, 19)
    expect(redo).to_be_enabled()
    editor.keyboard.press("Control+z")
    expect_kept(editor, 16)
    assert kept(editor) == mask.kept.tolist()
    expect(undo).to_be_disabled()
    editor.keyboard.press("Control+Shift+z")
    expect_kept(editor, 19)
    redo.click()
    expect_kept(editor, 18)
    expect(redo).to_be_disabled()


def test_undo_right_after_a_stroke_takes_back_that_stroke(editor: Page, mask: HeadMask) -> None:
    click_cell(editor, 3, 7)
    expect_kept(editor, 17)
    click_cell(editor, 3, 6)
    editor.keyboard.press("Control+z")
    expect_kept(editor, 17)
    assert kept(editor)[3][6:] == [False, True]


def test_moving_the_slider_is_undone_as_one_edit(editor: Page) -> None:
    click_cell(editor, 3, 7)
    expect_kept(editor, 17)
    set_sparsity(editor, "ArrowRight", 10)
    expect(figure(editor, "kept")).not_to_have_text("17 of 32")
    editor.get_by_role("button", name="Undo").click()
    expect_kept(editor, 17)
    assert kept(editor)[3][7]
    expect(editor.locator("#sparsity input[type=range]")).to_have_value("0.47")


@pytest.mark.slow
def test_ctrl_z_in_a_text_field_is_the_fields_own(editor: Page) -> None:
    click_cell(editor, 3, 7)
    expect_kept(editor, 17)
    editor.locator("#name input, #name textarea").focus()
    editor.keyboard.type("abc")
    editor.keyboard.press("Control+z")
    editor.wait_for_timeout(400)
    expect_kept(editor, 17)


def test_the_keys_edit(editor: Page) -> None:
    editor.locator("#map .hm-svg").focus()
    editor.keyboard.press("Control+End")
    editor.keyboard.press("Space")
    expect_kept(editor, 17)
    assert kept(editor)[3][7]
    expect(panel(editor, 3, 7)).to_contain_text("kept")
    editor.keyboard.press("Space")
    expect_kept(editor, 16)
    editor.keyboard.press("k")
    expect_kept(editor, 24)
    assert all(kept(editor)[3])
    editor.keyboard.press("c")
    expect_kept(editor, 16)


@pytest.mark.slow
def test_whole_layers(editor: Page) -> None:
    drag(editor, (2, 4), (2, 4))
    expect(panel(editor, 2, 4)).to_be_visible()
    editor.get_by_role("button", name="Keep layer 2").click()
    expect_kept(editor, 24)
    expect(editor.get_by_role("button", name="Keep layer 2")).to_be_disabled()
    editor.get_by_role("button", name="Compress layer 2").click()
    expect_kept(editor, 16)
    y = centre(editor, 3, 0)[1]
    left = grid(editor).bounding_box()
    assert left is not None
    editor.mouse.dblclick(left["x"] + 10, y)  # on the layer's label
    expect_kept(editor, 24)
    assert all(kept(editor)[3])
    editor.mouse.dblclick(left["x"] + 10, y)
    expect_kept(editor, 16)


def test_a_finger_paints_on_a_phone(context: BrowserContext, key: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(f"/heads?mask={key}")
    wait_for_kept(page, 16)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.get_by_label("Edit: drag over cells").check()
    expect(grid(page)).to_have_css("touch-action", "none")
    cell(page, 3, 0).scroll_into_view_if_needed()
    touch = context.new_cdp_session(page)
    points = [centre(page, 3, 0), centre(page, 3, 3)]
    for kind, where in (("touchStart", points[:1]), ("touchMove", points[1:]), ("touchEnd", [])):
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in where]},
        )
    expect_kept(page, 20)


def test_without_edit_nothing_is_painted(page: Page, key: str) -> None:
    page.goto(f"/heads?mask={key}")
    wait_for_kept(page, 16)
    drag(page, (2, 0), (2, 7))
    page.locator("#map .hm-svg").focus()
    for keys in ("Space", "k", "c"):
        page.keyboard.press(keys)
    page.wait_for_timeout(400)
    expect_kept(page, 16)


@pytest.mark.slow
def test_edits_are_seen_in_every_view(editor: Page, key: str) -> None:
    view(editor, "Difference")
    editor.locator("#other input").click()
    editor.get_by_role("option", name="To edit").first.click()
    expect(editor.locator("#map .hm-note")).to_contain_text("and 0 heads differ")
    drag(editor, (3, 6), (3, 7))
    expect(editor.locator("#map .hm-note")).to_contain_text("and 2 heads differ")
    assert np.argwhere(values(editor)).tolist() == [[3, 6], [3, 7]]


# --- budget ---------------------------------------------------------------------------------


def ask_budget(page: Page, megabytes: str, length: str, batch: str) -> None:
    for field, value in (("mb", megabytes), ("length", length), ("batch", batch)):
        page.locator(f"#budget-{field} input").fill(value)
    page.get_by_role("button", name="Keep what fits").click()


def test_the_best_heads_under_a_budget(editor: Page, mask: HeadMask) -> None:
    ask_budget(editor, "8", "1024", "4")
    best = mask.with_budget(bytes=2_000_000, length=1024, head_dim=16, itemsize=4)
    assert 0 < best.n_kept < 32
    expect_kept(editor, best.n_kept)
    assert kept(editor) == best.kept.tolist()
    said = editor.locator("#budget-said")
    expect(said).to_contain_text(f"{best.n_kept} of 32 heads fit")
    expect(said).to_contain_text("of 8 MB for 4 x 1,024 tokens")
    editor.get_by_role("button", name="Undo").click()
    expect_kept(editor, 16)


@pytest.mark.slow
def test_a_budget_that_is_too_small_says_what_is_needed(editor: Page) -> None:
    ask_budget(editor, "0.01", "1024", "4")
    expect(editor.locator(".toast-body")).to_contain_text("0.01 MB are too few")
    expect(editor.locator(".toast-body")).to_contain_text("0.328 MB are needed")
    expect_kept(editor, 16)


# --- what stays -----------------------------------------------------------------------------


def test_an_edited_mask_is_saved_with_its_parent(editor: Page, key: str, db: Database) -> None:
    drag(editor, (3, 5), (3, 7))
    expect_kept(editor, 19)
    editor.locator("#name input, #name textarea").fill("Painted")
    editor.get_by_role("button", name="Save").click()
    expect(editor.locator("#mask input")).to_have_value(re.compile("^Painted"))
    row = next(row for row in Masks(db).list() if row.name == "Painted")
    assert row.parent_id == key
    expect(editor).to_have_url(re.compile(f"mask={row.id}"))
    saved = HeadMask.from_record(asdict(row))
    assert saved.kept[3, 5:].all()
    assert saved.n_kept == 19
    expect(editor.get_by_role("button", name="Undo")).to_be_disabled()


FORGE = """([name, data]) => {
  const root = document.querySelector('#map .headmap');
  root.rlkvEmit(name, data);
}"""
FORGED = [
    ("paint", {"cells": [[9, 9]], "keep": True, "n": 1}),
    ("paint", {"cells": [[0, 0], [0, -1]], "keep": False, "n": 1}),
    ("paint", {"cells": [[0, 0]], "keep": "no", "n": 1}),
    ("paint", {"cells": "<b>", "keep": False, "n": 1}),
    ("paint", {"cells": [[0, 0]] * 99, "keep": False, "n": 1}),
    ("paint", None),
    ("pick", {"layer": 99, "head": 0}),
    ("pick", {"layer": "<b>", "head": 0}),
    ("pick", {"layer": True, "head": 0}),
    ("pick", {"layer": 0.5, "head": None}),
    ("base", {"step": "1; drop"}),
    ("base", {"step": 10**30}),
]


def test_a_painted_mask_is_tried_in_chat_without_being_kept(
    editor: Page, key: str, mask: HeadMask, db: Database
) -> None:
    before = len(Masks(db).list())
    editor.locator("#try").click()  # as it was opened: by its key, so that its cut can be moved
    editor.wait_for_url(f"**/chat?mask={key}")
    editor.go_back()
    wait_for_kept(editor, 16)
    editor.get_by_label("Edit: drag over cells").check()
    click_cell(editor, 3, 7)
    expect_kept(editor, 17)
    painted = mask.toggle(3, 7).to_link()
    editor.locator("#try").click()
    editor.wait_for_url(f"**/chat?mask={painted}")
    expect(editor.locator("#mask input")).to_have_value("From a link, not kept · 4x8")
    expect(editor.locator("#sparsity input[type=number]")).to_have_value("0.4688")
    assert len(Masks(db).list()) == before


def test_forged_events_change_nothing(editor: Page) -> None:
    click_cell(editor, 1, 1)
    expect(panel(editor, 1, 1)).to_contain_text("compressed")
    before = kept(editor)
    for name, data in FORGED:
        editor.evaluate(FORGE, [name, data])
        editor.wait_for_timeout(300)
        expect(panel(editor, 1, 1)).to_be_visible()
        expect_kept(editor, 15)
        assert kept(editor) == before, (name, data)


def test_a_forged_stroke_without_edit_changes_nothing(page: Page, key: str) -> None:
    page.goto(f"/heads?mask={key}")
    wait_for_kept(page, 16)
    page.evaluate(FORGE, ["paint", {"cells": [[3, 7]], "keep": True, "n": 1}])
    page.wait_for_timeout(300)
    expect_kept(page, 16)
