"""The pages, in the order of the bar: adding one is a line here. Knows no Gradio."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """One address of the app."""

    name: str
    path: str
    module: str
    """Has `build(studio, app)`, which adds the page's components and events to the open Blocks."""
    in_bar: bool = True
    offers_links: bool = False
    """Whether a mask that came in the address may be kept from here."""


OVERVIEW = Page("Overview", "/", "ui.overview")
"""The first page, which the app itself is built around."""

PAGES = (
    Page("Train", "/train", "ui.train"),
    Page("Heads", "/heads", "ui.heads", offers_links=True),
    Page("Head", "/head", "ui.head", in_bar=False, offers_links=True),
    Page("Masks", "/masks", "ui.library"),
    Page("Finder", "/finder", "ui.finder", offers_links=True),
    Page("Chat", "/chat", "ui.chat", offers_links=True),
    Page("Evaluate", "/evaluate", "ui.evaluation", offers_links=True),
    Page("Stories", "/stories", "ui.stories"),
)


def bar() -> list[tuple[str, str]]:
    """(name, address) of each link; addresses are relative, so that a proxy's prefix holds."""
    return [(page.name, f".{page.path}") for page in (OVERVIEW, *PAGES) if page.in_bar]
