"""What is known of a head without running the model: gate, rank, memory, its course in training."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np

from ui import catalogue, neuronpedia
from ui.components.charts import line, lines_value
from ui.components.head_panel import HeadSize
from ui.components.tiles import Tile, tiles
from ui.head.here import Here
from ui.mask_figures import size_of
from ui.studio import Studio
from ui.units import bytes_text

TOKENS = 1000
"""Length at which a head's memory is told."""


def title(here: Here) -> str:
    """HTML of the page's title: where we are, the head, and one sentence about it."""
    mask = here.mask
    kept = bool(mask.kept[here.cell])
    name = catalogue.name_of(here.entry.key, mask)
    kind = ("kept", "kept") if kept else ("cut", "compressed")
    return (
        f'<div class="head one-title" data-head="{here.head}"><p class="crumbs">'
        f'<a href="./heads?mask={escape(here.entry.key)}">{escape(name)}</a> '
        f"<span>{escape(here.model)}</span></p>"
        f'<h1>Head {here.head} <span class="kind {kind[0]}">{kind[1]}</span></h1>'
        f"<p>{_sentence(here)}</p>{_neighbours(here)}</div>"
    )


def figures(here: Here) -> str:
    """HTML of the row of figures."""
    mask, size = here.mask, size_of(here.mask)
    kept = bool(mask.kept[here.cell])
    rank = int(mask.ranks()[here.cell]) + 1
    items = [
        Tile("Gate", f"{mask.gates[here.cell]:.3f}", _score_beside(here)),
        Tile("Rank", str(rank), f"of {mask.kept.size}"),
    ]
    if size is not None:
        now, other = _bytes(here, size, kept), _bytes(here, size, not kept)
        value, unit = bytes_text(now).split()
        role = "full" if kept else "comp"
        items.append(Tile("KV memory", value, f"{unit} at {TOKENS:,} tokens", role, "memory"))
        value, unit = bytes_text(other).split()
        words = "If compressed" if kept else "If kept"
        items.append(Tile(words, value, unit, "comp" if kept else "full", "memory-other"))
        items.append(Tile("Query heads", _group(here, size), "share it", key="query-heads"))
    return tiles(items) + _elsewhere(here, size)


def course(studio: Studio, here: Here) -> dict[str, Any] | None:
    """Chart of the head's gate over its training, with the reward behind it; None without one."""
    history = catalogue.history(studio, here.entry)
    if history is None:
        return None
    history = history.thinned(300)
    steps = [int(step) for step in history.steps]
    gates = history.gates[:, here.cell[0], here.cell[1]].tolist()
    rewards = [
        (step, float(r)) for step, r in zip(steps, history.rewards, strict=True) if math.isfinite(r)
    ]
    series = [line("Gate", "full", list(zip(steps, gates, strict=True)))]
    if rewards:
        series.insert(0, line("Reward", "soft", rewards))
    return lines_value(
        f"Gate of head {here.head} over its training",
        series,
        x="step",
        range=(0.0, 1.0),
        note=f"Ended at {gates[-1]:.3f} after {steps[-1]} steps",
        height=210,
    )


def _sentence(here: Here) -> str:
    mask = here.mask
    kept = bool(mask.kept[here.cell])
    rank, total = int(mask.ranks()[here.cell]) + 1, mask.kept.size
    third = "among those needed most" if rank <= total / 3 else (
        "in the middle" if rank <= 2 * total / 3 else "among those needed least"
    )  # fmt: skip
    reads = (
        "It reads the whole past."
        if kept
        else f"It reads the first {mask.sink} and the latest {mask.recent} tokens only."
    )
    return f"KV head {here.cell[1]} of {place(here)}. Rank {rank} of {total}: {third}. {reads}"


def place(here: Here) -> str:
    """The layer in words. In a hybrid, row r of a mask is the r-th layer with full attention."""
    index = layer_index(here)
    row = here.cell[0]
    return f"layer {row}" if index == row else f"layer {index} (row {row} of the mask)"


def layer_index(here: Here) -> int:
    """The head's layer, counted over all layers of the model."""
    ids = here.mask.info.get("layer_ids")
    row = here.cell[0]
    fits = isinstance(ids, list) and len(ids) == here.mask.layers and isinstance(ids[row], int)
    return int(ids[row]) if fits and isinstance(ids, list) else row


def _neighbours(here: Here) -> str:
    """Links to the heads one rank up and one rank down."""
    ranks = here.mask.ranks()
    rank = int(ranks[here.cell])
    found = []
    for other, words in ((rank - 1, "&larr; needed more"), (rank + 1, "needed less &rarr;")):
        if 0 <= other < ranks.size:
            layer, head = divmod(int((ranks.ravel() == other).argmax()), here.mask.kv_heads)
            href = escape(here.address((layer, head)))
            found.append(f'<a class="step" href="{href}">{words}: {layer}.{head}</a>')
    return f'<p class="steps">{" ".join(found)}</p>'


def _score_beside(here: Here) -> str:
    """The score, where it is not the gate: after elimination."""
    mask = here.mask
    same = np.array_equal(mask.gates, mask.scores)
    return "" if same else f"score {mask.scores[here.cell]:.3f}"


def _bytes(here: Here, size: HeadSize, kept: bool) -> int:
    tokens = TOKENS if kept else min(TOKENS, here.mask.sink + here.mask.recent)
    return 2 * size.head_dim * size.itemsize * tokens


def query_heads(here: Here, size: HeadSize) -> range:
    """The query heads that share the KV head."""
    first = here.cell[1] * size.group
    return range(first, first + size.group)


def _group(here: Here, size: HeadSize) -> str:
    heads = query_heads(here, size)
    return str(heads[0]) if len(heads) == 1 else f"{heads[0]}-{heads[-1]}"


def _elsewhere(here: Here, size: HeadSize | None) -> str:
    """Links to Neuronpedia's pages of its query heads, where there are any."""
    if size is None:
        return ""
    found = neuronpedia.links(here.model, layer_index(here), query_heads(here, size))
    links = ", ".join(
        f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">query head {head}</a>'
        for head, url in found
    )
    return f'<p class="note under">On Neuronpedia: {links}</p>' if links else ""
