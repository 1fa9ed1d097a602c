"""What one visitor of the heads page has on screen, and how it is drawn. Knows no events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import gradio as gr
import numpy as np

from rlkv.masks import HeadMask
from ui import catalogue
from ui.components.head_panel import Curve, head_panel
from ui.components.headmap import Cell, head_map_value, picked, training_frames
from ui.heads.charts import charts
from ui.heads.editing import Edits
from ui.heads.views import OPPOSITE, RANDOM, VIEWS, Beside, Other, base_step, picture
from ui.mask_figures import mask_figures, size_of
from ui.studio import Studio

LENGTHS = [128, 512, 2048, 8192, 32768, 131072]
OTHERS = [("Random heads", RANDOM), ("The opposite ranking", OPPOSITE)]


@dataclass(frozen=True)
class Screen:
    """What one visitor has on screen, but for the open head, which changes by itself."""

    key: str
    mask: HeadMask
    entry: catalogue.Entry
    beside: Beside
    length: int = 512
    view: str = "gate"
    other: str = RANDOM
    """Key of the second mask of the difference."""
    editing: bool = False
    edits: Edits = field(default_factory=Edits)
    ack: int = 0
    """Number of the last stroke taken."""

    def edited(self, mask: HeadMask, *, cut_at: float | None = None) -> Screen:
        """After an edit; the same screen if it changed no head."""
        if np.array_equal(mask.kept, self.mask.kept):
            return self
        return replace(self, mask=mask, edits=self.edits.edited(self.mask, cut_at=cut_at))

    def viewed(self, studio: Studio, view: str, other: str) -> Screen:
        """In another view; what that view compares with is read here, once."""
        beside = self.beside
        if view == "difference":
            found = _other(studio, other, self.mask)
            other = other if found is not None else RANDOM
            beside = replace(beside, other=found or _other(studio, RANDOM, self.mask))
        if view == "agreement":
            beside = replace(beside, peers=_peers(studio, self.entry))
        return replace(self, view=view, other=other, beside=beside)

    def based(self, step: int) -> Screen:
        """With the change counted from `step`."""
        return replace(self, beside=replace(self.beside, base=step))


def open_screen(
    studio: Studio, key: str | None, asked: Mapping[str, str], before: Screen | None = None
) -> Screen | None:
    """The mask called `key`; view and length stay as they were before, or as the address asks."""
    entry = catalogue.find(studio, key)
    if entry is None:
        return None
    history = catalogue.history(studio, entry)
    screen = Screen(entry.key, entry.mask, entry, Beside(history=history))
    if before is not None:
        screen = replace(screen, length=before.length, editing=before.editing)
    view = asked.get("view") or (before.view if before else "gate")
    other = asked.get("other") or (before.other if before else RANDOM)
    screen = screen.viewed(studio, view if view in VIEWS else "gate", other)
    step = asked.get("base", "")
    return screen.based(int(step)) if step.isascii() and step.isdigit() else screen


def first_cell(mask: HeadMask, asked: str = "") -> Cell:
    """The head `asked` for as `layer.head`; else the one needed most.

    A panel to read teaches more than an empty one.
    """
    layer, _, head = asked.partition(".")
    if layer.isdecimal() and head.isdecimal() and len(asked) < 12:
        cell = picked({"layer": int(layer), "head": int(head)}, mask.shape)
        if cell is not None:
            return cell
    row, column = np.argwhere(mask.ranks() == 0)[0]
    return int(row), int(column)


def other_choices(studio: Studio, screen: Screen) -> list[tuple[str, str]]:
    """What the mask can be compared with: (label, key)."""
    return [*OTHERS, *catalogue.choices(studio, shape=screen.mask.shape)]


# --- drawing --------------------------------------------------------------------------------


def map_value(screen: Screen, cell: Cell, *, fresh: bool) -> dict[str, Any]:
    """The head map; the training's steps are sent only when a mask is opened (`fresh`)."""
    shown = picture(screen.view, screen.mask, screen.beside)
    history = screen.beside.history
    frames: Any = None
    base = None
    if history is not None:
        frames = training_frames(history, screen.key) if fresh else "same"
        base = int(history.steps[base_step(history, screen.beside.base)])
    return head_map_value(
        shown.values,
        kept=screen.mask.kept,
        view=screen.view,
        scale=shown.scale,
        texts=shown.texts,
        hover=shown.hover,
        selected=cell,
        legend=shown.legend,
        frames=frames,
        name=shown.name,
        column=shown.column,
        editable=screen.editing,
        undoable=True,
        base=base,
        ack=screen.ack,
        key=screen.key,
        file=f"heads-{screen.view}",
    )


def drawn(screen: Screen, cell: Cell, *, fresh: bool = False) -> list[Any]:
    """Figures, map, charts, Undo, Redo, then `one_head`."""
    return [
        mask_figures(screen.mask, screen.length),
        map_value(screen, cell, fresh=fresh),
        *charts(screen.mask, screen.length),
        gr.update(interactive=bool(screen.edits.past)),
        gr.update(interactive=bool(screen.edits.future)),
        *one_head(screen, cell),
    ]


def one_head(screen: Screen, cell: Cell) -> list[Any]:
    """The panel, the button under it, and the buttons for its layer."""
    mask = screen.mask
    layer = cell[0]
    panel = head_panel(
        mask, cell, size_of(mask), _curve(screen, cell), gate=float(mask.gates[cell])
    )
    words = "Compress this head" if mask.kept[cell] else "Keep this head"
    return [
        panel + _link(screen, cell),
        gr.update(value=words, visible=True),
        gr.update(value=f"Keep layer {layer}", interactive=not mask.kept[layer].all()),
        gr.update(value=f"Compress layer {layer}", interactive=bool(mask.kept[layer].any())),
    ]


def _link(screen: Screen, cell: Cell) -> str:
    head = f"{cell[0]}.{cell[1]}"
    query = urlencode({"model": screen.mask.model, "mask": screen.key, "head": head})
    href = query.replace("&", "&amp;")
    return f'<p class="deeper"><a href="./head?{href}" id="head-page">All about this head</a></p>'


def _curve(screen: Screen, cell: Cell) -> Curve:
    """The gate of the head over the training."""
    history = screen.beside.history
    if history is None:
        return []
    gates = history.gates[:, cell[0], cell[1]].tolist()
    return list(zip(history.steps.tolist(), gates, strict=True))


# --- what views compare with ----------------------------------------------------------------


def _other(studio: Studio, key: str, mask: HeadMask) -> Other | None:
    """The second mask of a difference; None if there is none of that name and shape."""
    if key == RANDOM:
        return Other(
            "random heads",
            HeadMask.random(*mask.shape, sparsity=mask.sparsity, seed=0).keep_best(mask.n_kept),
        )
    if key == OPPOSITE:
        # Its heads by rank, so that ties turn round too; its scores stay comparable with these.
        opposite = replace(mask, scores=1.0 - mask.scores, kept=mask.inverse().kept)
        return Other("the opposite ranking", opposite)
    entry = catalogue.find(studio, key)
    if entry is None or entry.key != key or entry.mask.shape != mask.shape:
        return None
    return Other(f"“{entry.mask.name or 'Mask'}”", entry.mask)


def _peers(studio: Studio, entry: catalogue.Entry) -> tuple[HeadMask, ...]:
    """Masks of the same model, shape and task from other seeds: one a seed, trained ones first."""
    mask = entry.mask
    task, own = mask.info.get("task"), mask.info.get("seed")
    if not isinstance(task, str) or not isinstance(own, int):
        return ()
    found: dict[int, HeadMask] = {}
    entries = catalogue.entries(studio, model=mask.model, shape=mask.shape)
    for one in sorted(entries, key=lambda e: not (e.is_shipped or e.job_id)):
        seed = one.mask.info.get("seed")
        if isinstance(seed, int) and one.mask.info.get("task") == task and seed != own:
            found.setdefault(seed, one.mask)
    return tuple(found.values())
