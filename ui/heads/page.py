"""What happens on the heads page: each event, checked, to the next screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from ui import catalogue
from ui.components.headmap import Cell, is_index, painted, picked
from ui.events import EVERY, FOLLOWS, PRIVATE, QUIET
from ui.heads.card import wire_mask_card
from ui.heads.editing import best_under_budget, kv_megabytes, layer_mask, painted_mask
from ui.heads.layout import Page, lay_out
from ui.heads.screen import (
    LENGTHS,
    Screen,
    drawn,
    first_cell,
    one_head,
    open_screen,
    other_choices,
)
from ui.heads.views import VIEWS
from ui.mask_figures import size_of
from ui.messages import told
from ui.studio import Studio

NO_MASK = (
    '<div class="blank">There is no mask yet. <a href="./train">Train one</a>, '
    "or load a .zip or .tsv below.</div>"
)
ASKED = ("view", "other", "base", "head")
"""What the address may say besides the mask."""


NEW_MASK = "key => { rlkvAddress('mask', key); rlkvAddress('head', ''); rlkvAddress('base', ''); }"
"""Another mask is on screen: the address forgets the head and the step of the one before."""
Change = Callable[[Screen, Cell, Any], Screen | None]


def address(key: str) -> dict[str, Any]:
    """Puts a component's value into the address bar as `key`."""
    return {"js": f"value => rlkvAddress('{key}', value)", "api_visibility": "private"}


def build(studio: Studio, app: gr.Blocks) -> None:
    """Adds the page's components and events to the open Blocks."""
    page = lay_out()

    def opened(request: gr.Request) -> list[Any]:
        query = {name: str(request.query_params.get(name) or "")[:80] for name in ASKED}
        return _open(studio, page, request.query_params.get("mask"), None, query)

    def chosen(key: str, screen: Screen | None) -> list[Any]:
        return _open(studio, page, key, screen, {})

    everything = page.everything()
    new_mask = {**address("mask"), "js": NEW_MASK}
    app.load(opened, None, everything, **QUIET)
    page.chooser.input(chosen, [page.chooser, page.screen], everything, **QUIET).then(
        None, page.chooser, None, **new_mask
    )
    _wire_views(studio, page)
    _wire_heads(page)
    _wire_edits(page)
    _wire_budget(page)
    wire_mask_card(studio, page.card, page.screen, chosen, everything, (page.chooser, new_mask))


def _wire_views(studio: Studio, p: Page) -> None:
    def look(screen: Screen | None, cell: Cell, view: str, other: str) -> list[Any]:
        if screen is None or view not in VIEWS:
            return [gr.skip()] * (2 + len(p.drawn()))
        screen = screen.viewed(studio, view, str(other))
        return [screen, _other_chooser(studio, screen), *drawn(screen, cell)]

    def base(screen: Screen | None, cell: Cell, event: gr.EventData) -> list[Any]:
        step = _data(event).get("step")
        if screen is None or not is_index(step, 2**31):
            return [gr.skip()] * (1 + len(p.drawn()))
        screen = screen.based(step)
        return [screen, *drawn(screen, cell)]

    def at_length(screen: Screen | None, cell: Cell, length: int) -> list[Any]:
        if screen is None or length not in LENGTHS:
            return [gr.skip()] * (1 + len(p.drawn()))
        screen = replace(screen, length=int(length))
        return [screen, *drawn(screen, cell)]

    given, shown = [p.screen, p.cell], [p.screen, *p.drawn()]
    chosen, seen = [*given, p.view, p.other], [p.screen, p.other, *p.drawn()]
    p.view.input(look, chosen, seen, **QUIET).then(None, p.view, None, **address("view"))
    p.other.input(look, chosen, seen, **QUIET).then(None, p.other, None, **address("other"))
    p.map.base(base, given, shown, **EVERY)
    p.length.input(at_length, [*given, p.length], shown, **QUIET)


def _wire_heads(p: Page) -> None:
    def pick(screen: Screen | None, event: gr.EventData) -> list[Any]:
        cell = picked(_data(event), screen.mask.shape) if screen is not None else None
        if screen is None or cell is None:
            return [gr.skip()] * (1 + len(p.head()))
        return [cell, *one_head(screen, cell)]

    p.map.pick(pick, p.screen, [p.cell, *p.head()], **EVERY)


def _wire_edits(p: Page) -> None:
    given, shown = [p.screen, p.cell], [p.screen, p.cut, *p.drawn()]

    def run(change: Change) -> Callable[..., list[Any]]:
        """An event that may bring what it was triggered with, or the value of a component."""

        def with_data(screen: Screen | None, cell: Cell, event: gr.EventData) -> list[Any]:
            after = change(screen, cell, _data(event)) if screen is not None else None
            return [gr.skip()] * len(shown) if after is None else _edited(after, cell)

        def with_value(screen: Screen | None, cell: Cell, value: Any) -> list[Any]:
            after = change(screen, cell, value) if screen is not None else None
            if after is None:
                return [gr.skip()] * len(shown)
            # The slider is the person's while it moves: nothing is written back to it.
            return [after, gr.skip(), *drawn(after, cell)]

        return with_value if change in (_cut, _switched) else with_data

    p.cut.input(run(_cut), [*given, p.cut], shown, **FOLLOWS)
    p.edit.input(run(_switched), [*given, p.edit], shown, **QUIET)
    p.map.paint(run(_stroke), given, shown, **EVERY)
    p.toggle.click(run(_toggled), given, shown, **EVERY)
    p.keep_layer.click(run(_layer_kept), given, shown, **EVERY)
    p.compress_layer.click(run(_layer_compressed), given, shown, **EVERY)
    for event, change in (
        (p.undo.click, _undone), (p.map.undo, _undone),
        (p.redo.click, _redone), (p.map.redo, _redone),
    ):  # fmt: skip
        event(run(change), given, shown, **EVERY)


def _wire_budget(p: Page) -> None:
    def fit(
        screen: Screen | None, cell: Cell, megabytes: float, length: float, batch: float
    ) -> list[Any]:
        if screen is None:
            return [gr.skip()] * (3 + len(p.drawn()))
        size = size_of(screen.mask)
        with told():
            mask = best_under_budget(
                screen.mask, size, megabytes=megabytes or 0.0, length=length or 0, batch=batch or 0
            )
        held = kv_megabytes(mask, size, int(length), int(batch)) if size else 0.0
        said = (
            f'<p class="note">{mask.n_kept} of {mask.kept.size} heads fit: {held:.3g} of '
            f"{megabytes:g} MB for {int(batch):,} x {int(length):,} tokens.</p>"
        )
        return [said, *_edited(screen.edited(mask), cell)]

    b = p.budget
    b.apply.click(
        fit, [p.screen, p.cell, b.megabytes, b.length, b.batch],
        [b.said, p.screen, p.cut, *p.drawn()], **PRIVATE,
    )  # fmt: skip


# --- edits: the screen after one, or None if it asks for nothing sensible --------------------


def _cut(screen: Screen, cell: Cell, sparsity: Any) -> Screen | None:
    if not isinstance(sparsity, int | float) or not 0.0 <= sparsity <= 1.0:
        return None
    return screen.edited(screen.mask.at_sparsity(float(sparsity)), cut_at=time.monotonic())


def _switched(screen: Screen, cell: Cell, on: Any) -> Screen | None:
    return replace(screen, editing=bool(on))


def _stroke(screen: Screen, cell: Cell, data: Any) -> Screen | None:
    stroke = painted(data, screen.mask.shape)
    if stroke is None or not screen.editing:
        return None
    cells, keep, number = stroke
    return replace(screen.edited(painted_mask(screen.mask, cells, keep)), ack=number)


def _toggled(screen: Screen, cell: Cell, data: Any) -> Screen | None:
    return screen.edited(screen.mask.toggle(*cell))


def _layer_kept(screen: Screen, cell: Cell, data: Any) -> Screen | None:
    return screen.edited(layer_mask(screen.mask, cell[0], True))


def _layer_compressed(screen: Screen, cell: Cell, data: Any) -> Screen | None:
    return screen.edited(layer_mask(screen.mask, cell[0], False))


def _undone(screen: Screen, cell: Cell, data: Any) -> Screen | None:
    edits, mask = screen.edits.undone(screen.mask)
    return replace(screen, edits=edits, mask=mask)


def _redone(screen: Screen, cell: Cell, data: Any) -> Screen | None:
    edits, mask = screen.edits.redone(screen.mask)
    return replace(screen, edits=edits, mask=mask)


# --- the next screen ------------------------------------------------------------------------


def _open(
    studio: Studio, page: Page, key: str | None, before: Screen | None, query: dict[str, str]
) -> list[Any]:
    """Everything for the mask called `key`."""
    screen = open_screen(studio, key, query, before)
    if screen is None:
        empty = [gr.skip()] * len(page.everything())
        empty[0] = gr.update(choices=[], value=None)
        empty[page.everything().index(page.figures)] = NO_MASK
        return empty
    cell = first_cell(screen.mask, query.get("head", ""))
    return [
        gr.update(choices=catalogue.choices(studio, also=screen.key), value=screen.key),
        screen.view,
        _other_chooser(studio, screen),
        screen.editing,
        screen,
        cell,
        round(screen.mask.sparsity, 2),
        _budget_now(screen),
        *drawn(screen, cell, fresh=True),
    ]


def _budget_now(screen: Screen) -> float:
    """What the mask takes at 512 tokens in MB: a budget to start from."""
    size = size_of(screen.mask)
    return float(f"{kv_megabytes(screen.mask, size, 512, 1):.3g}") if size else 1.0


def _other_chooser(studio: Studio, screen: Screen) -> Any:
    shown = screen.view == "difference"
    return gr.update(choices=other_choices(studio, screen), value=screen.other, visible=shown)


def _edited(screen: Screen, cell: Cell) -> list[Any]:
    return [screen, round(screen.mask.sparsity, 2), *drawn(screen, cell)]


def _data(event: gr.EventData) -> dict[str, Any]:
    """What an event brought; any client can send anything."""
    data = getattr(event, "_data", None)
    return data if isinstance(data, dict) else {}
