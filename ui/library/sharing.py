"""A mask as a link: the address of a page that opens it, and the same as a QR code."""

from __future__ import annotations

import io
import re
from html import escape

import segno
from segno.encoder import DataOverflowError

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from ui.catalogue import name_of

PAGES = {"heads": "Heads", "chat": "Chat", "evaluate": "Evaluate"}
_BASE = re.compile(r"https?://[A-Za-z0-9._~:\[\]-]{1,200}(/[A-Za-z0-9._~%/-]{0,200})?/", re.ASCII)
MOST_QR = 1800
"""Characters: a denser code is not read from a screen."""


def address(mask: HeadMask, base: object, page: object) -> str:
    """The address that opens a mask on a page; `base` is where the browser sees the app.

    Raises:
        UserError: if `base` is no address of an app, or there is no such page.
    """
    if not isinstance(base, str) or not _BASE.fullmatch(base) or page not in PAGES:
        raise UserError("This link can't be made: reload the page and try again.")
    return f"{base}{page}?mask={mask.to_link()}"


def share_card(mask: HeadMask, base: object, page: object, key: str) -> str:
    """HTML of the link to a mask, to copy or to scan.

    Raises:
        UserError: as `address`.
    """
    link = address(mask, base, page)
    where = "".join(
        f'<button type="button" data-do="link" data-page="{name}" '
        f'aria-pressed="{str(name == page).lower()}">{words}</button>'
        for name, words in PAGES.items()
    )
    return (
        f'<section class="share" data-key="{escape(key)}" aria-label="Link to a mask">'
        f'<div class="qr">{qr_code(link)}</div><div class="about-link">'
        f"<h2 class=sect>{escape(name_of(key, mask))} as a link</h2>"
        f'<p class="sub">The {mask.n_kept} kept heads and the window, in the address itself: '
        "nothing is uploaded. The gates are not in it; export the mask for those.</p>"
        f'<p class="where">Opens in {where}</p>'
        f'<p class="copy"><input readonly aria-label="Link" value="{escape(link)}">'
        '<button type="button" data-do="copy">Copy</button>'
        '<button type="button" data-do="unlink">Close</button></p></div></section>'
    )


def qr_code(text: str) -> str:
    """An SVG of the QR code, black on white in both themes; words where it would be too dense."""
    try:
        if len(text) > MOST_QR:
            raise DataOverflowError
        code = segno.make(text, error="l", micro=False, boost_error=True)
    except DataOverflowError:
        return '<p class="note">This mask is too large for a QR code.</p>'
    out = io.BytesIO()
    code.save(
        out, kind="svg", scale=4, border=3, light="#ffffff", dark="#000000", xmldecl=False,
        svgclass=None, lineclass=None, omitsize=True, title="QR code of the link",
    )  # fmt: skip
    return out.getvalue().decode()
