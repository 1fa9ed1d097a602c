"""The library as HTML; every text of a mask is escaped. Knows no events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from rlkv.mask_metrics import CLAIMED
from rlkv.mask_picture import thumbnail
from storage.masks import MaskRow
from ui.library.shelf import Item, Origin
from ui.units import NOT_YET, percent

EMPTY = (
    '<div class="blank">No mask matches. Take a word out of the search, or '
    '<a href="./train">train a mask</a>.</div>'
)
EXPORTS = {
    "zip": "Zip",
    "folder": "Zip with a folder",
    "adapter": "adapter_weights.tsv for SGLang",
    "picture": "Heat map as SVG",
}


def shelf(
    found: Sequence[Item],
    total: int,
    deleted: Sequence[MaskRow],
    *,
    opened: bool = False,
) -> str:
    """The list of masks, what can be done with several, and what was deleted lately.

    `opened` unfolds the deleted ones.
    """
    count = f"{total} masks" if len(found) == total else f"{len(found)} of {total} masks"
    rows = "".join(_row(item) for item in found)
    return (
        '<div class="shelf"><div class="several"><span class="count" role="status">'
        f"{count}</span><span class=chosen hidden>"
        '<b data-chosen>0</b> chosen <button type="button" data-do="compare">Compare</button>'
        '<button type="button" data-do="average">Average</button>'
        '<button type="button" data-do="clear">Clear</button></span></div>'
        f"{f'<ul class=masks>{rows}</ul>' if rows else EMPTY}"
        f"{_deleted(deleted, opened)}</div>"
    )


def gone(name: str, key: str) -> str:
    """The line after a mask was deleted, with Undo; it fades by itself."""
    return (
        f'<div class="undo-bar" role="status"><span>Deleted “{escape(name)}”.</span>'
        f'<button type="button" data-do="restore" data-key="{escape(key)}">Undo</button></div>'
    )


def _row(item: Item) -> str:
    mask, key, name = item.mask, escape(item.key), escape(item.name)
    href = f"./heads?mask={key}"
    rename = _button("rename", "Rename", f"Rename {name}") if item.own else ""
    remove = _button("remove", "Delete", f"Delete {name}") if item.own else ""
    exports = "".join(
        f'<button type="button" data-do="take" data-form="{form}">{words}</button>'
        for form, words in EXPORTS.items()
    )
    return (
        f'<li class="mask" data-key="{key}">'
        f'<input type="checkbox" data-pick aria-label="Choose {name}">'
        f'<a class="pic" href="{href}" aria-label="Open {name} in Heads">{thumbnail(mask)}</a>'
        f'<div class="who"><p class="name"><span data-name>{name}</span>{rename}</p>'
        f'<p class="meta">{_about(item)}</p><p class="meta">{_origin(item)}</p></div>'
        f"{_figures(item)}"
        f'<div class="does"><a href="{href}">Open</a>'
        f'<a href="./chat?mask={key}">Chat</a><a href="./evaluate?mask={key}">Evaluate</a>'
        f"<details><summary>Export</summary><div>{exports}</div></details>"
        f"{_button('link', 'Link', f'Link to {name}')}{remove}</div></li>"
    )


def _about(item: Item) -> str:
    mask = item.mask
    parts = [
        mask.model or "model not named",
        item.task,
        "" if item.seed is None else f"seed {item.seed}",
        f"{mask.layers} x {mask.kv_heads} heads",
        f"window {mask.sink} + {mask.recent}",
    ]
    return " · ".join(escape(part) for part in parts if part)


def _origin(item: Item) -> str:
    said = _origin_words(item.origin)
    if item.made is None:
        return said
    return f"{said} · {time.strftime('%d %b %Y, %H:%M', time.localtime(item.made))}"


def _origin_words(origin: Origin) -> str:
    links = [
        f'<a href="{escape(href)}">{escape(name)}</a>' if href else escape(name)
        for name, href in origin.links
    ]
    return " ".join(part for part in (escape(origin.words), ", ".join(links)) if part)


def _figures(item: Item) -> str:
    accuracy = NOT_YET if item.accuracy is None else percent(item.accuracy)
    if item.accuracy is not None and item.claimed:
        accuracy += f' <small title="{CLAIMED.capitalize()}">claimed</small>'
    return (
        f'<dl><div><dt>At 50 %</dt><dd data-figure="accuracy">{accuracy}</dd></div>'
        f"<div><dt>Sparsity</dt><dd>{percent(item.mask.sparsity)}</dd></div></dl>"
    )


def _deleted(rows: Sequence[MaskRow], opened: bool) -> str:
    if not rows:
        return ""
    lines = "".join(
        f'<li data-key="{escape(row.id)}"><span>{escape(row.name or "Mask")}</span>'
        f"<small>{escape(row.model or 'model not named')} · {row.layers} x {row.kv_heads}</small>"
        f"{_button('restore', 'Restore', '')}{_button('forget', 'Delete for good', '')}</li>"
        for row in rows
    )
    return (
        f'<details class="deleted"{" open" if opened else ""}>'
        f"<summary>Recently deleted ({len(rows)})</summary><ul>{lines}</ul></details>"
    )


def _button(action: str, words: str, label: str) -> str:
    aria = f' aria-label="{label}"' if label else ""
    return f'<button type="button" data-do="{action}"{aria}>{words}</button>'
