"""What happens in the library: each event, checked, to what is shown next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from rlkv.mask_files.parsed import MAX_NAME, one_line
from ui import catalogue
from ui.downloads import take
from ui.events import FOLLOWS, PRIVATE, QUIET
from ui.library import shelf, view
from ui.library.averaging import average
from ui.library.exporting import written
from ui.library.importing import Pending, all_kept, event_data, kept, looked_at, preview
from ui.library.layout import Page, lay_out
from ui.library.sharing import share_card
from ui.messages import notice, told
from ui.sharing import browsing as hub
from ui.studio import Studio

Shown = list[Any]


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    page = lay_out()
    _wire_list(studio, app, page)
    _wire_changes(studio, page)
    _wire_taking(studio, page)
    _wire_importing(studio, page)
    hub.hub_panel(studio, app, page.pending, page.imports)


def listed(
    studio: Studio, words: object, model: object, *, bar: str = "", opened: bool = False
) -> Shown:
    """The model chooser, the line with Undo, the list."""
    found = shelf.items(studio)
    models = shelf.models(found)
    chosen = str(model) if model in models else ""
    some = shelf.matching(found, str(words or "")[:200], chosen)
    html = view.shelf(some, len(found), studio.masks.deleted(), opened=opened)
    options = [("All models", ""), *((name, name) for name in models)]
    return [gr.update(choices=options, value=chosen), bar, html]


def _wire_list(studio: Studio, app: gr.Blocks, p: Page) -> None:
    def shown(words: str, model: str) -> Shown:
        return listed(studio, words, model)

    def filtered(words: str, model: str) -> Shown:
        return listed(studio, words, model)[1:]

    app.load(shown, [p.words, p.model], p.listed(), **QUIET)
    gr.on(
        [p.words.change, p.model.input], filtered, [p.words, p.model], [p.bar, p.shelf], **FOLLOWS
    )


def _wire_changes(studio: Studio, p: Page) -> None:
    """What changes masks. The database refuses what is somebody else's: a button that is not shown
    does not stop a request."""

    def rename(data: dict[str, Any], words: str, model: str) -> Shown:
        name = one_line(data.get("name", ""), MAX_NAME)
        studio.masks.rename(stored_key(data), name)
        return listed(studio, words, model)

    def remove(data: dict[str, Any], words: str, model: str) -> Shown:
        row = studio.masks.delete(stored_key(data))
        return listed(studio, words, model, bar=view.gone(row.name or "Mask", row.id))

    def restore(data: dict[str, Any], words: str, model: str) -> Shown:
        row = studio.masks.restore(stored_key(data))
        notice(f"“{row.name or 'Mask'}” is back.")
        return listed(studio, words, model)

    def forget(data: dict[str, Any], words: str, model: str) -> Shown:
        studio.masks.forget(stored_key(data))
        return listed(studio, words, model, opened=True)

    def averaged(data: dict[str, Any], words: str, model: str) -> Shown:
        keys = data.get("keys")
        if not isinstance(keys, list) or len(keys) > 100:
            raise UserError("Choose the masks to average.")
        entries = [found(studio, key) for key in keys]
        mask = average([(entry.key, entry.mask) for entry in entries])
        studio.keep_mask(mask)
        notice(f"“{mask.name}” keeps {mask.n_kept} heads, by the mean of the ranks.")
        return listed(studio, words, model)

    given = [p.words, p.model]
    for event, action in (
        (p.shelf.rename, rename), (p.shelf.remove, remove), (p.shelf.restore, restore),
        (p.bar.restore, restore), (p.shelf.forget, forget), (p.shelf.average, averaged),
    ):  # fmt: skip
        event(_checked(action), given, p.listed(), **PRIVATE)


def _wire_taking(studio: Studio, p: Page) -> None:
    def export(event: gr.EventData) -> str:
        data = event_data(event)
        with told():
            return str(written(found(studio, data.get("key")).mask, data.get("form")))

    def share(event: gr.EventData) -> str:
        data = event_data(event)
        with told():
            entry = found(studio, data.get("key"))
            page = data.get("page") or "heads"
            return share_card(entry.mask, data.get("base"), page, entry.key)

    p.shelf.take(export, None, p.file, **PRIVATE).success(None, None, None, **take("library-file"))
    for event in (p.shelf.link, p.share.link):
        event(share, None, p.share, **PRIVATE)
    p.share.unlink(lambda: "", None, p.share, **QUIET)


def _wire_importing(studio: Studio, p: Page) -> None:
    def look(paths: list[str] | None, pending: Pending) -> Shown:
        with told():
            pending = looked_at(paths or [], pending)
        return [None, pending, preview(studio, pending)]

    def keep(event: gr.EventData, pending: Pending, words: str, model: str) -> Shown:
        data = event_data(event)
        with told():
            pending, key = kept(studio, pending, data.get("n"), data.get("model"))
        notice(f"Kept “{studio.masks.get(key).name}”.")
        return [pending, preview(studio, pending), *listed(studio, words, model)]

    def keep_all(pending: Pending, search: str, model: str) -> Shown:
        with told():
            pending, words = all_kept(studio, pending)
        notice(words)
        return [pending, preview(studio, pending), *listed(studio, search, model)]

    def discard(event: gr.EventData, pending: Pending) -> Shown:
        number = event_data(event).get("n")
        pending = tuple(one for one in pending if one.number != number)
        return [pending, preview(studio, pending)]

    waiting = [p.pending, p.imports]
    p.files.upload(look, [p.files, p.pending], [p.files, *waiting], **PRIVATE)
    given = [p.pending, p.words, p.model]
    p.imports.keep(keep, given, [*waiting, *p.listed()], **PRIVATE)
    p.imports.keep_all(keep_all, given, [*waiting, *p.listed()], **PRIVATE)
    p.imports.discard(discard, p.pending, waiting, **QUIET)


# --- what an event may name -----------------------------------------------------------------


def found(studio: Studio, key: object) -> catalogue.Entry:
    """The mask of a key that any client may send.

    Raises:
        UserError: if there is none.
    """
    entry = catalogue.find(studio, key) if isinstance(key, str) else None
    if entry is None or entry.key != key:
        raise UserError("That mask is gone: reload the page.")
    return entry


def stored_key(data: dict[str, Any]) -> str:
    """The key of a mask that is in the database, as far as can be seen.

    Raises:
        UserError: for a shipped one.
    """
    key = data.get("key")
    if not isinstance(key, str) or len(key) > 40:
        raise UserError("That mask is gone: reload the page.")
    if catalogue.is_shipped(key):
        raise UserError("Masks that came with the app can't be renamed or deleted.")
    return key


def _checked(
    action: Callable[[dict[str, Any], str, str], Shown],
) -> Callable[[gr.EventData, str, str], Shown]:
    """An event that is refused with words where its data or its rights are not right."""

    def run(event: gr.EventData, words: str, model: str) -> Shown:
        with told():
            return action(event_data(event), words, model)

    return run
