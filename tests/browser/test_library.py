"""The library of masks: find, rename, delete and undo, average, share, export, import."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from rlkv.mask_files import PAPER_TSV
from rlkv.mask_files.found import look
from rlkv.masks import HeadMask
from storage.database import Database, open_database
from storage.masks import Masks
from tests.browser.conftest import Server
from tests.browser.head_map import figure

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"


@pytest.fixture
def db(server: Server) -> Iterator[Database]:
    db = open_database(server.folder)
    yield db
    db.close()


def saved(db: Database, seed: int, **fields: object) -> str:
    mask = HeadMask.random(
        4, 8, sparsity=0.5, seed=seed, sink=4, recent=16,
        **{
            "model": "tracer", "name": f"Library {seed}",
            "info": {"task": "tracing", "seed": seed}, **fields,
        },
    )  # fmt: skip
    return Masks(db).save(mask.to_record()).id


def row(page: Page, key: str) -> Locator:
    return page.locator(f".masks [data-key='{key}']")


def search(page: Page, words: str) -> None:
    page.locator("#search input, #search textarea").fill(words)


def test_masks_are_found_renamed_deleted_and_brought_back(page: Page, db: Database) -> None:
    key, other = saved(db, 901), saved(db, 902, name=HOSTILE)
    page.goto("/masks")
    expect(row(page, key)).to_contain_text("tracer · tracing · seed 901 · 4 x 8 heads")
    expect(row(page, other).locator("[data-name]")).to_have_text(HOSTILE)
    expect(row(page, "shipped").locator("[data-figure=accuracy]")).to_have_text("99 %")
    expect(row(page, "shipped").get_by_role("button", name="Rename")).to_have_count(0)
    search(page, "seed 901 tracing")
    expect(page.locator(".masks > li")).to_have_count(1)

    row(page, key).get_by_role("button", name="Rename").click()
    field = row(page, key).locator(".renaming")
    field.fill("Better name 901")
    field.press("Enter")
    expect(row(page, key).locator("[data-name]")).to_have_text("Better name 901")
    assert Masks(db).get(key).name == "Better name 901"

    row(page, key).get_by_role("button", name="Delete").click()
    expect(page.locator("#undo-delete")).to_contain_text("Deleted “Better name 901”.")
    expect(row(page, key)).to_have_count(0)
    assert [one.id for one in Masks(db).deleted()] == [key]
    page.locator("#undo-delete").get_by_role("button", name="Undo").click()
    expect(row(page, key)).to_have_count(1)

    row(page, key).get_by_role("button", name="Delete").click()
    expect(row(page, key)).to_have_count(0)
    page.reload()
    page.locator(".deleted summary").click()
    page.locator(f".deleted [data-key='{key}']").get_by_role("button", name="Restore").click()
    expect(row(page, key)).to_have_count(1)
    assert Masks(db).get(key).name == "Better name 901"


def test_two_are_compared_and_several_averaged(page: Page, db: Database) -> None:
    keys = [saved(db, seed) for seed in (911, 912)]
    page.goto("/masks")
    for key in keys:
        row(page, key).locator("[data-pick]").check()
    expect(page.locator("[data-chosen]")).to_have_text("2")
    page.get_by_role("button", name="Average").click()
    expect(page.locator(".masks")).to_contain_text("Average of 2 masks")
    made = next(one for one in Masks(db).list() if one.name == "Average of 2 masks")
    assert [one["key"] for one in made.info["averaged"]] == keys
    expect(row(page, made.id)).to_contain_text("average of Library 911, Library 912")
    expect(row(page, made.id).locator(f"a[href='./heads?mask={keys[0]}']")).to_have_count(1)

    for key in keys:
        row(page, key).locator("[data-pick]").check()
    page.get_by_role("button", name="Compare").click()
    expect(page).to_have_url(re.compile(rf"/heads\?mask={keys[0]}&view=difference&other={keys[1]}"))
    expect(page.locator("#map")).to_contain_text("“Library 912”")


def test_a_refused_average_leaves_nothing_ticked(page: Page, db: Database) -> None:
    keys = [saved(db, 915), saved(db, 916, model="org/other")]
    page.goto("/masks")
    for key in keys:
        row(page, key).locator("[data-pick]").check()
    page.get_by_role("button", name="Average", exact=True).click()
    expect(page.locator(".toast-body")).to_contain_text("one model")
    for key in keys:
        expect(row(page, key).locator("[data-pick]")).not_to_be_checked()
    expect(page.locator(".chosen")).to_be_hidden()


@pytest.mark.slow
def test_a_link_shows_a_mask_on_every_page_and_keeps_it_on_request(
    page: Page, db: Database, server: Server
) -> None:
    key = saved(db, 921)
    mask = HeadMask.from_record(asdict(Masks(db).get(key))).toggle(0, 0)
    row_id = Masks(db).save(mask.to_record()).id
    page.goto("/masks")
    row(page, row_id).get_by_role("button", name="Link").click()
    link = page.locator("#share .copy input").input_value()
    assert link.startswith(f"{server.url}/heads?mask=rlkv1.4x8.4.16.")
    expect(page.locator("#share .qr svg")).to_be_visible()
    page.locator("#share").get_by_role("button", name="Chat").click()
    expect(page.locator("#share .copy input")).to_have_value(re.compile("/chat\\?mask=rlkv1"))

    before = len(Masks(db).list())
    text = parse_qs(urlsplit(link).query)["mask"][0]
    page.goto(f"/evaluate?mask={text}")
    expect(page.locator("#eval-masks")).to_contain_text("From a link, not kept")
    page.goto(f"/chat?mask={text}")
    expect(page.locator("#link-banner")).to_contain_text("A mask from a link, not kept here")
    values = "[...document.querySelectorAll('input')].map(e => e.value)"
    page.wait_for_function(f"{values}.some(v => v.startsWith('From a link, not kept'))")
    page.goto(link)
    expect(figure(page, "kept")).to_have_text(f"{mask.n_kept} of 32")
    assert len(Masks(db).list()) == before
    page.locator("#link-keep").click()
    page.wait_for_function("!new URL(location.href).searchParams.get('mask').startsWith('rlkv1')")
    expect(figure(page, "kept")).to_have_text(f"{mask.n_kept} of 32")
    newest = HeadMask.from_record(asdict(Masks(db).list()[0]))
    assert np.array_equal(newest.kept, mask.kept)
    assert len(Masks(db).list()) == before + 1
    page.goto("/heads?mask=rlkv1.4x8.4.16.AA")
    expect(page.locator("#link-banner")).to_contain_text("can't be read")
    expect(page.locator("#link-keep")).to_be_hidden()


def test_files_go_out_and_are_looked_at_before_they_come_in(
    page: Page, db: Database, tmp_path: Path
) -> None:
    key = saved(db, 931, name="To travel")
    mask = HeadMask.from_record(asdict(Masks(db).get(key)))
    page.goto("/masks")
    files = {}
    for words, name in (("Zip with a folder", "To-travel.zip"), ("for SGLang", PAPER_TSV)):
        row(page, key).locator("summary").click()
        with page.expect_download() as taken:
            row(page, key).get_by_role("button", name=words).click()
        assert taken.value.suggested_filename == name
        files[name] = tmp_path / name
        taken.value.save_as(files[name])
        assert np.array_equal(look(files[name]).mask.kept, mask.kept)

    kvzip = io.BytesIO()
    np.save(kvzip, np.arange(32.0).reshape(4, 8))
    files["kvzip.npy"] = tmp_path / "kvzip.npy"
    files["kvzip.npy"].write_bytes(kvzip.getvalue())
    files["head.pt"] = tmp_path / "head.pt"
    files["head.pt"].write_bytes(b"\x80\x04.")
    before = len(Masks(db).list())
    page.locator("#files input[type=file]").set_input_files([str(p) for p in files.values()])
    cards = page.locator("#imports .import")
    expect(cards).to_have_count(4)
    expect(cards.nth(0)).to_contain_text("16 of 32, as the file says")
    expect(cards.nth(2)).to_contain_text("It does not say which model it is for.")
    expect(cards.nth(3)).to_contain_text("Python pickle")
    assert len(Masks(db).list()) == before
    cards.nth(2).locator("[data-model]").select_option("tracer")
    cards.nth(2).get_by_role("button", name="Keep").click()
    expect(page.locator(".masks")).to_contain_text("imported from kvzip.npy")
    kept = Masks(db).list()[0]
    assert (kept.name, kept.model, kept.info["imported_from"]["file"]) == (
        "kvzip", "tracer", "kvzip.npy",
    )  # fmt: skip
    expect(cards).to_have_count(3)
    cards.nth(1).get_by_role("button", name="Discard").click()
    expect(cards).to_have_count(2)
    cards.nth(0).get_by_role("button", name="Keep").click()
    expect(cards).to_have_count(1)
    assert len(Masks(db).list()) == before + 2
    assert page.title() != "broken in"


def test_the_two_files_of_a_duo_attention_folder_come_in_as_one_mask(
    page: Page, tmp_path: Path
) -> None:
    np.savetxt(tmp_path / "full_attention_heads.tsv", np.eye(4, 8), delimiter="\t")
    (tmp_path / "config.json").write_text('{"sink_size": 64, "recent_size": 256}')
    page.goto("/masks")
    page.locator("#files input[type=file]").set_input_files([*map(str, tmp_path.glob("*.*"))])
    card = page.locator("#imports .import")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("DuoAttention pattern")
    expect(card).to_contain_text("64 first and 256 latest tokens")


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1440, "light")])
@pytest.mark.slow
def test_it_fits_the_screen(page: Page, db: Database, width: int, theme: str) -> None:
    key = saved(db, 941, name="x" * 80)
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"/masks?__theme={theme}")
    row(page, key).get_by_role("button", name="Link").click()
    expect(page.locator("#share .qr svg")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
