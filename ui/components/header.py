"""The bar on top of every page and the title under it."""

from __future__ import annotations

from html import escape

import gradio as gr

from ui import space
from ui.components.tour import STOPS, TOUR_BUTTON
from ui.pages import OVERVIEW, bar
from ui.space import Space

_MARK = (
    '<svg width="26" height="26" viewBox="0 0 26 26" aria-hidden="true">'
    '<g fill="#2563c9"><rect x="1" y="1" width="7" height="7" rx="1.5"/>'
    '<rect x="9.5" y="1" width="7" height="7" rx="1.5"/>'
    '<rect x="1" y="9.5" width="7" height="7" rx="1.5"/>'
    '<rect x="18" y="9.5" width="7" height="7" rx="1.5"/></g>'
    '<g fill="#e07a1a"><rect x="18" y="1" width="7" height="7" rx="1.5" opacity=".45"/>'
    '<rect x="9.5" y="9.5" width="7" height="7" rx="1.5" opacity=".7"/>'
    '<rect x="1" y="18" width="7" height="7" rx="1.5" opacity=".8"/>'
    '<rect x="9.5" y="18" width="7" height="7" rx="1.5"/>'
    '<rect x="18" y="18" width="7" height="7" rx="1.5"/></g></svg>'
)

_COPY = (
    '<svg width="15" height="15" viewBox="0 0 15 15" fill="none" stroke="currentColor" '
    'stroke-width="1.5" aria-hidden="true"><rect x="5" y="5" width="9" height="9" rx="2"/>'
    '<path d="M2.5 10A1.5 1.5 0 0 1 1 8.5v-6A1.5 1.5 0 0 1 2.5 1h6A1.5 1.5 0 0 1 10 2.5"/></svg>'
)

_START = """
element.querySelector('.theme.day').addEventListener('click', rlkvTheme);
const nav = element.querySelector('nav'), here = nav.querySelector('[aria-current]');
if (here) nav.scrollLeft = here.offsetLeft - nav.offsetLeft - 60;  // on a phone it scrolls
"""


def header(current: str) -> None:
    """Adds the bar; `current` is the page's name."""
    links = "".join(
        f'<a href="{href}"{" aria-current=page" if name == current else ""}>{name}</a>'
        for name, href in bar()
    )
    gr.HTML(
        f'<header class="top"><a class="brand" href="./" aria-label="RLKV Studio">{_MARK}'
        f'<span>RLKV Studio</span></a><nav aria-label="Pages">{links}</nav>'
        f"{_copy_button(current)}{TOUR_BUTTON if current in STOPS else ''}"
        '<button class="theme day" type="button" title="Light or dark" '
        'aria-label="Switch between light and dark">◐</button></header>',
        js_on_load=_START,
        apply_default_css=False,
    )


def duplicate(where: Space) -> str:
    """The attributes of a link to the page that copies a Space. A Space is shown in a frame, where
    the Hub's pages refuse to open."""
    return f'href="{escape(where.duplicate)}" target="_blank" rel="noopener"'


def _copy_button(current: str) -> str:
    where = space.here()
    if where is None or current == OVERVIEW.name:  # which has a larger one
        return ""
    words = "Duplicate this Space"
    told = f'{duplicate(where)} title="{words}" aria-label="{words}"'
    return f'<a class="theme copy" {told}>{_COPY}</a>'


def title(heading: str, words: str, *, extra: str = "", hero: bool = False) -> None:
    """Adds the page's title; `extra` is HTML of ours under it."""
    gr.HTML(
        f'<div class="head{" hero" if hero else ""}"><h1>{escape(heading)}</h1>'
        f"<p>{words}</p>{extra}</div>",
        js_on_load=None,
        apply_default_css=False,
    )


def section(heading: str, words: str = "") -> None:
    """Adds the heading of a card; `words` is HTML of ours."""
    sub = f'<p class="sub">{words}</p>' if words else ""
    html(f'<h2 class="sect">{escape(heading)}</h2>{sub}')


def html(value: str = "", *, elem_id: str | None = None) -> gr.HTML:
    """A plain piece of HTML, without Gradio's text styles and click handler."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_id=elem_id)
