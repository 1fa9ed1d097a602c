"""The scripts that take pictures and times open pages that exist, and look for what is on them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from ui.pages import OVERVIEW, PAGES

ROOT = Path(__file__).parent.parent
ROUTES = {page.path for page in (OVERVIEW, *PAGES)}
SOURCES = [*(ROOT / "ui").rglob("*.py"), *(ROOT / "ui").rglob("*.js")]
PAGE = "\n".join(path.read_text() for path in [*SOURCES, ROOT / "rlkv" / "mask_picture.py"])
"""All that pages are made of."""


@pytest.fixture
def screenshots(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module("screenshots")


def missing(selectors: str) -> list[str]:
    """Ids and classes that no page has."""
    names = re.findall(r"[#.]([a-z][a-z-]+)(?=[ '\[,.)]|$)", selectors, re.MULTILINE)
    assert names
    return [name for name in names if not re.search(rf"['\" ]{name}['\" ]|-{name}['\"]", PAGE)]


def test_every_page_has_its_picture(screenshots: ModuleType) -> None:
    addresses = [path.partition("?")[0] for path, _ in screenshots.PAGES.values()]
    assert sorted(addresses) == sorted(ROUTES)
    for page in (OVERVIEW, *PAGES):
        assert screenshots.PAGES[page.name.lower()][0].partition("?")[0] == page.path


def test_what_pictures_wait_for_is_on_the_pages(screenshots: ModuleType) -> None:
    assert missing("\n".join(there for _, there in screenshots.PAGES.values())) == []


def test_interactions_open_pages_and_press_what_is_there(screenshots: ModuleType) -> None:
    times = import_module("interactions")
    source = Path(times.__file__ or "").read_text()
    opened = set(re.findall(r"goto\(f?\"(/[a-z]*)", source))
    assert len(opened) >= 3
    assert opened <= ROUTES
    pressed = re.findall(r"(?:locator|focus|querySelector(?:All)?)\(\\?[\"'](#[a-z-]+)", source)
    assert len(pressed) > 10
    assert missing("\n".join(pressed)) == []


def test_a_name_that_is_nowhere_is_missed() -> None:
    assert missing("#no-such-thing .nor-this [x]") == ["no-such-thing", "nor-this"]
