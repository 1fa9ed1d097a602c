"""The chat page as its tests use it: asking, reading what is on screen and what is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page, expect

from storage.chats import Chats
from storage.database import Database, open_database
from storage.votes import Votes
from tests.browser.conftest import Server
from ui.chat.kept import Kept, Node

QUESTION = "f=3; j=4; b=9; h:f+j; d:h-b; a:d+d; e:a-f; c:e+h; ?c"
SHORT = "c=7; b=6; e:c-b; k:c-e; ?k"
COMPRESSED = '.side[data-role="comp"]'
_SOME_ID = re.compile(r"^\d+$")
READY_MS = 60_000
"""The model is loaded once, and this machine may be busy."""


def open_chat(page: Page, address: str = "/chat", *, quick: bool = True) -> Page:
    """The page with the transcript drawn; `quick` writes without the pauses for reading."""
    page.goto(address)
    page.locator("#talk .talk-pane").wait_for()
    expect(page.locator("#chat-facts [data-fact=memory]")).to_contain_text(
        "float", timeout=READY_MS
    )
    if quick:
        page.locator("#slowly input").uncheck()
    return page


def ask(page: Page, question: str, *, wait: bool = True) -> Locator:
    """Sends a question; returns its turn, ended where `wait`."""
    before = page.locator(".turn").count()
    page.locator("#question textarea").fill(question)
    page.locator("#question textarea").press("Enter")
    expect(page.locator(".turn")).to_have_count(before + 1)
    if wait:
        ended(page)
    return page.locator(".turn").last


def ended(page: Page, patience_ms: float = READY_MS) -> None:
    """Waits until the last turn is kept."""
    turn = page.locator(".turn").last
    expect(turn).to_have_attribute("data-answer", _SOME_ID, timeout=patience_ms)
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#talk .talk")).to_have_attribute("data-state", "done")


def cut(page: Page, sparsity: float, side: str = "sparsity") -> None:
    """Sets the sparsity of the second side, or of another."""
    field = page.locator(f"#{side} input[type=number]")
    field.fill(str(sparsity))
    field.press("Enter")


def choose_sides(page: Page, name: str) -> None:
    """Presses one of the chips."""
    page.locator("#which").get_by_label(name, exact=True).check()


def shown(side: Locator) -> dict[str, Any]:
    """The figures that a side shows, from its data."""
    data: dict[str, str] = side.evaluate("node => ({...node.dataset})")
    return {key: _number(value) for key, value in data.items()}


def read_bytes(figure: Locator) -> float:
    """Bytes as a figure says them in words: three digits, binary units."""
    number, unit = figure.inner_text().split()
    return float(number) * 1024 ** ("B", "KiB", "MiB", "GiB").index(unit)


def read_figures(side: Locator) -> dict[str, float]:
    """The numbers that a person reads under an answer, in bytes, tokens and seconds."""
    said = {}
    for figure in side.locator("[data-figure]").all():
        text, name = figure.inner_text(), str(figure.get_attribute("data-figure"))
        if not figure.is_visible():
            continue
        if name in ("bytes", "formula"):
            said[name] = read_bytes(figure)
        else:
            number, _, unit = text.replace(",", "").partition(" ")
            said[name] = float(number.lstrip("<")) / (1000 if unit == "ms" else 1)
    return said


def read_shares(text: str) -> list[float]:
    """The percentages in a text, as shares of 1."""
    return [float(number) / 100 for number in re.findall(r"([\d.]+) %", text)]


def _number(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


@contextmanager
def database(server: Server) -> Iterator[Database]:
    """The app's database, read beside it."""
    db = open_database(server.folder)
    try:
        yield db
    finally:
        db.close()


def kept(page: Page, server: Server) -> list[Node]:
    """The open branch of the conversation on screen, answers with their tokens."""
    chat = page.locator("#talk .talk").get_attribute("data-chat")
    assert chat
    with database(server) as db:
        store = Kept(Chats(db), Votes(db))
        answers = {node.id: node for node in store.answers(chat)}
        return [answers.get(node.id, node) for node in store.branch(chat)]


def answers(page: Page, server: Server) -> list[dict[str, Any]]:
    """The answers of the open branch as they are kept."""
    return [node.answer for node in kept(page, server) if node.role == "assistant"]
