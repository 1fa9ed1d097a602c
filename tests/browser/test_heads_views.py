"""The views of the Heads page, comparing masks, and the training played back."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from rlkv.masks import HeadMask
from storage.database import open_database
from storage.masks import Masks
from tests.browser.conftest import Server
from tests.browser.head_map import (
    HEADS,
    LAYERS,
    cell,
    grid,
    kept,
    set_sparsity,
    values,
    view,
)

pytestmark = pytest.mark.browser


def test_the_views_draw_what_they_say(heads: Page, mask: HeadMask) -> None:
    assert np.allclose(values(heads), mask.scores, atol=1e-3)
    view(heads, "Rank")
    expect(cell(heads, 3, 7)).to_have_attribute("data-value", "0")
    expect(cell(heads, 0, 0)).to_contain_text("1")
    expect(cell(heads, 3, 7)).to_contain_text("32")
    expect(heads).to_have_url(re.compile("view=rank"))
    view(heads, "Kept")
    expect(heads.locator("#map .hm-note")).to_contain_text("16 of 32 heads keep the whole past")
    assert (np.array(values(heads)) == mask.kept).all()
    expect(heads).to_have_url(re.compile("view=kept"))
    heads.reload()
    expect(heads.locator("#map .hm-note")).to_contain_text("16 of 32 heads keep the whole past")


def test_a_mask_is_compared_with_another(heads: Page, server: Server, mask: HeadMask) -> None:
    db = open_database(server.folder)
    other = mask.toggle(0, 0)
    Masks(db).save({**other.to_record(), "name": "Without the first"})
    db.close()
    view(heads, "Difference")
    note = heads.locator("#map .hm-note")
    expect(note).to_contain_text("Against random heads")
    heads.locator("#other input").click()
    heads.get_by_role("option", name="The opposite ranking").click()
    expect(note).to_contain_text("0 of the 16 kept heads are kept in both")
    expect(note).to_contain_text("Rank correlation -1.00")
    expect(heads).to_have_url(re.compile("view=difference.*other=opposite"))
    heads.locator("#other input").click()
    heads.get_by_role("option", name="Without the first").first.click()
    expect(note).to_contain_text("and 1 head differs")
    assert np.argwhere(values(heads)).tolist() == [[0, 0]]
    expect(heads).not_to_have_url(re.compile("other=opposite"))
    heads.reload()
    expect(note).to_contain_text("and 1 head differs")


@pytest.mark.slow
def test_seeds_agree_or_there_is_only_one(page: Page, server: Server, mask: HeadMask) -> None:
    db = open_database(server.folder)
    keys = []
    for seed in range(3):
        random = HeadMask.random(LAYERS, HEADS, sparsity=0.5, seed=seed, model="agreeing")
        info = {"task": "tracing", "seed": seed, "head_dim": 16, "itemsize": 4, "query_heads": 16}
        keys.append(Masks(db).save({**random.to_record(), "info": info}).id)
        page.goto(f"/heads?mask={keys[0]}&view=agreement")
        note = page.locator("#map .hm-note")
        expect(note).to_contain_text("only one seed" if seed == 0 else f"{seed + 1} seeds")
    expect(cell(page, 0, 0)).to_contain_text("/3")
    bar = page.locator("#map .legend .bar").bounding_box()
    assert bar is not None
    assert bar["height"] == 10
    set_sparsity(page, "Home")
    expect(note).to_contain_text("share 100 % of their kept heads")
    expect(cell(page, 3, 3)).to_have_attribute("data-value", "1")
    db.close()


@pytest.fixture
def trained(page: Page) -> Page:
    """The shipped mask, which comes with its training."""
    page.goto("/heads?mask=shipped")
    expect(page.locator("#map .hm-time")).to_be_visible()
    return page


def at_step(page: Page) -> int | None:
    step = grid(page).get_attribute("data-step")
    return int(step) if step else None


@pytest.mark.slow
def test_the_training_plays_and_ends_with_the_mask(trained: Page) -> None:
    final, drawn = kept(trained), values(trained)
    trained.get_by_role("button", name="Play the training").click()
    trained.wait_for_function("document.querySelector('#map .hm-svg').dataset.step > 20")
    expect(trained.locator("#map .hm-say")).to_contain_text("reward")
    pause = trained.get_by_role("button", name="Pause")
    pause.click()
    held = at_step(trained)
    assert held is not None
    count = sum(map(sum, kept(trained)))
    assert count == sum(map(sum, final))  # as many heads as the cut keeps, at every step
    trained.wait_for_timeout(300)
    assert at_step(trained) == held
    trained.get_by_role("button", name="Play the training").click()
    expect(trained.locator("#map .hm-say")).to_contain_text("the mask as it is", timeout=9000)
    assert (kept(trained), values(trained)) == (final, drawn)


@pytest.mark.slow
def test_the_slider_goes_by_keys(trained: Page) -> None:
    slider = trained.get_by_role("slider", name="Step of the training")
    slider.focus()
    trained.keyboard.press("Home")
    assert at_step(trained) == 1
    first = values(trained)
    assert min(map(min, first)) > 0.9  # every training begins with open gates
    trained.keyboard.press("ArrowRight")
    assert (at_step(trained) or 0) > 1
    assert values(trained) != first
    trained.keyboard.press("End")
    assert at_step(trained) is None


@pytest.mark.slow
def test_without_motion_it_goes_in_steps(context: BrowserContext) -> None:
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto("/heads?mask=shipped")
    page.get_by_role("button", name="Play the training").click()
    seen = {at_step(page)}
    for _ in range(20):
        page.wait_for_timeout(100)
        seen.add(at_step(page))
    in_turn = sorted(step for step in seen if step is not None)
    assert len(in_turn) > 1
    assert min(b - a for a, b in pairwise(in_turn)) >= 10  # with motion it is 1 or a few


@pytest.mark.slow
def test_the_slider_chooses_what_a_change_is_counted_from(trained: Page) -> None:
    view(trained, "Change")
    note = trained.locator("#map .hm-note")
    expect(note).to_contain_text("from step 1 to step 150")
    trained.get_by_role("slider", name="Step to count the change from").focus()
    before = values(trained)
    for _ in range(30):
        trained.keyboard.press("ArrowRight")
    expect(note).not_to_contain_text("from step 1 to")
    expect(trained).to_have_url(re.compile(r"base=\d+"))
    assert values(trained) != before
    trained.keyboard.press("End")
    expect(note).to_contain_text("from step 150 to step 150")
    assert not np.any(values(trained))
