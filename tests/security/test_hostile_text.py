"""What models, files and other people write is shown as text, on every page that shows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect
from sqlalchemy import text

from rlkv.masks import HeadMask
from rlkv.worker import create_evaluation, run_job
from storage.database import Database, open_database
from storage.jobs import Jobs
from storage.masks import Masks
from storage.metrics import Metrics
from tests.browser.chat import COMPRESSED, READY_MS, ended, open_chat
from tests.browser.conftest import Server, Watch, watched
from tests.holding import holding
from tests.rlkv.dialogue.tokenisers import byte_level
from tests.rlkv.evaluation.stage import small
from tests.rlkv.families import tiny

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
slow = partial(pytest.param, marks=pytest.mark.slow)
HIT = "rlkvHit=1"
PIECES = [
    f"<img src=x onerror={HIT}>", f"<script>{HIT}</script>", f"<svg onload={HIT}></svg>",
    f"[go](javascript:{HIT})", "![see](http://evil.example/x.png)",
    f'<a href="javascript:{HIT}">a</a>', f"<iframe src='javascript:{HIT}'></iframe>",
    f"\"'><b onmouseover={HIT}>b</b>", "{{7*7}}${7*7}", "# Heading", "**bold**",
    "</textarea></div>",
    "$$\\href{javascript:" + HIT + "}{x}$$", "<style>*{display:none}</style>", "&lt;b&gt;",
]  # fmt: skip
HOSTILE = " ".join(PIECES)
TRACE = "onerror=rlkvHit"
INJECTED = (
    "img[src=x], svg[onload], [onerror], [onmouseover], iframe[src^=javascript],"
    " a[href^='javascript:'], [src*='evil.example'], [href*='evil.example']"
)


@pytest.fixture
def context(browser: Browser, app: Server, watch: Watch) -> Iterator[BrowserContext]:
    dialogs: list[str] = []

    def closed(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    with watched(browser, app.url, watch) as context:
        context.on("dialog", closed)
        yield context
        context.remove_listener("dialog", closed)  # the context stays for the next test
    assert dialogs == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def db(app: Server) -> Iterator[Database]:
    db = open_database(app.folder)
    yield db
    db.close()


def require_inert(page: Page, *, shown: bool = True) -> None:
    """The text is on the page, and nothing has become of it."""
    if shown:
        page.wait_for_function(
            """trace => document.body.innerText.includes(trace)
              || [...document.querySelectorAll('input, textarea')].some(
                e => e.value.includes(trace))""",
            arg=TRACE,
        )
    page.wait_for_timeout(300)  # scripts that were let in would have run by then
    assert page.evaluate("window.rlkvHit") is None
    assert page.locator(INJECTED).count() == 0
    own = "[...document.querySelectorAll('script')].filter(s => s.text === 'rlkvHit=1').length"
    assert page.evaluate(own) == 0
    assert page.locator("body").is_visible()


@pytest.fixture(scope="module")
def mask(app: Server) -> str:
    """A mask all whose words are hostile."""
    db = open_database(app.folder)
    made = HeadMask.random(4, 8, sparsity=0.5, seed=7, model="tracer").to_record()
    info = {
        "task": HOSTILE, "seed": 7, "notes": [HOSTILE], "recipe": {HOSTILE: HOSTILE},
        "imported_from": {"file": HOSTILE, "form": HOSTILE}, "metrics": {HOSTILE: HOSTILE},
    }  # fmt: skip
    key = Masks(db).save({**made, "name": HOSTILE, "revision": HOSTILE, "info": info}).id
    db.close()
    return key


@pytest.mark.parametrize(
    "path",
    ["/heads", *(slow(path) for path in ("/head", "/masks", "/finder", "/chat", "/evaluate"))],
)
def test_names_and_notes_of_a_mask(page: Page, mask: str, path: str) -> None:
    page.goto(f"{path}?mask={mask}")
    require_inert(page, shown=path in ("/masks", "/chat"))


def test_the_name_of_the_mask_that_another_is_compared_with(page: Page, mask: str) -> None:
    page.goto(f"/heads?mask=shipped&view=difference&other={mask}")
    note = page.locator("#map .hm-note")
    expect(note).to_contain_text("Against ")
    expect(note).to_contain_text(TRACE)
    require_inert(page)


def test_what_a_job_says(page: Page, db: Database) -> None:
    job = Jobs(db).create(
        "train", {"task": HOSTILE, "steps": 3}, title=HOSTILE, model=HOSTILE,
        total_steps=3, claimed_by=os.getpid(),
    )  # fmt: skip
    with holding(db, job):
        Jobs(db).heartbeat(
            job.id, step=1, message=HOSTILE, phase=HOSTILE, phase_done=1, phase_total=2
        )
        Metrics(db).add_event(job.id, "info", HOSTILE)
        page.goto(f"/train?job={job.id}")
        expect(page.locator(".live-top")).to_have_attribute("data-job", job.id)
        require_inert(page)
        Jobs(db).finish(job.id, "failed", HOSTILE, exit_code=1)
        expect(page.locator(".live-top")).to_have_attribute("data-state", "failed")
        require_inert(page)


def test_answers_of_an_evaluation(page: Page, db: Database) -> None:
    config = small(methods=["random"], sparsities=[0.5], problems=4, rows_at_once=4, seed=3)
    job = run_job(db, create_evaluation(config, db, claimed_by=os.getpid()))
    assert job.state == "done", job.message
    with db.write() as session:
        for change in (
            "UPDATE samples SET text = :hostile WHERE job_id = :job",
            "UPDATE problems SET prompt = :hostile || place, answer = :hostile WHERE job_id = :job",
            "UPDATE jobs SET title = :hostile WHERE id = :job",
        ):
            session.execute(text(change), {"hostile": HOSTILE, "job": job.id})
    page.goto(f"/evaluate?job={job.id}")
    expect(page.locator(f"#live [data-job='{job.id}']")).to_be_visible(timeout=30_000)
    require_inert(page)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that writes the pieces, whatever it is asked."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = byte_level()
    tokenizer.add_tokens(PIECES)
    first = tokenizer.convert_tokens_to_ids(PIECES[0])
    model = tiny("llama", "stock", vocab_size=300, eos_token_id=299)
    with torch.no_grad():
        model.lm_head.weight *= 0
        torch.manual_seed(0)
        model.lm_head.weight[first : first + len(PIECES)] = torch.randn(len(PIECES), 64)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_what_a_model_writes(page: Page, folder: Path, watch: Watch) -> None:
    open_chat(page)
    field = page.locator("#chat-model input")
    field.fill(str(folder))
    field.press("Enter")
    expect(page.locator("#chat-facts [data-fact=gates]")).to_have_text(
        "3 x 4 = 12", timeout=READY_MS
    )
    page.locator("#sampling button").first.click()
    page.locator("#longest input").fill("60")
    # At some heat every piece comes.
    page.locator("#temperature input[type=number]").fill("2")
    page.locator("#temperature input[type=number]").press("Enter")
    page.locator("#question textarea").fill(HOSTILE)
    page.locator("#question textarea").press("Enter")
    expect(page.locator(".turn")).to_have_count(1)
    ended(page)
    require_inert(page)
    for side in (".side", COMPRESSED):
        written = page.locator(side).first.locator(".token-text").text_content() or ""
        assert any(piece in written for piece in PIECES), written
    # A token's card, the list of conversations, a replay, and the conversation opened anew.
    page.locator(".side .tk").nth(3).hover()
    require_inert(page)
    page.get_by_role("button", name="Replay").last.click()
    require_inert(page)
    chat = page.locator("#talk .talk").get_attribute("data-chat")
    page.goto(f"/chat?chat={chat}")
    expect(page.locator(".turn")).to_have_count(1)
    require_inert(page)


@pytest.mark.parametrize(
    "path",
    ["/heads?mask=", *(slow(path) for path in ("/train?job=", "/chat?chat=", "/stories?story="))],
)
def test_words_in_the_address(page: Page, path: str) -> None:
    page.goto(path + "%3Cimg%20src%3Dx%20onerror%3DrlkvHit%3D1%3E")
    page.locator("header.top").wait_for()
    require_inert(page, shown=False)
