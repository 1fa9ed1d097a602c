"""A mask drawn as SVG: gates from orange (0) to blue (1), compressed heads dimmed."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlkv.masks import HeadMask

Table = NDArray[Any]
FULL, COMPRESSED = "#2563c9", "#e07a1a"
LEVELS = 8
"""Shades of each colour; more can't be told apart, and each is one path."""
DIMMED = 0.45
CELL = 16
MARGIN = 34


def thumbnail(mask: HeadMask, *, width: int = 132, height: int = 44) -> str:
    """A small picture without words, `width` x `height` px; the longer side lies flat."""
    lies = mask.layers >= mask.kv_heads
    gates, kept = (mask.gates.T, mask.kept.T) if lies else (mask.gates, mask.kept)
    rows, columns = gates.shape
    return (
        f'<svg class="thumb" width="{width}" height="{height}" viewBox="0 0 {columns} {rows}" '
        f'preserveAspectRatio="none" aria-hidden="true">{_cells(gates, kept)}</svg>'
    )


def heat_map(mask: HeadMask) -> str:
    """A picture for a card: a row a layer, a column a KV head, with its axes and a legend."""
    width, height = mask.kv_heads * CELL, mask.layers * CELL
    whole = max(width + MARGIN + 12, 330), height + MARGIN + 58
    name = escape(f"Gates of {mask.model or 'a model'}: {mask.n_kept} of {mask.kept.size} kept")
    every = max(1, -(-mask.layers // 12))
    labels = "".join(
        f'<text x="{MARGIN - 6}" y="{MARGIN + (layer + 0.5) * CELL + 4}" text-anchor="end">'
        f"{layer}</text>"
        for layer in range(0, mask.layers, every)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole[0]}" height="{whole[1]}" '
        f'viewBox="0 0 {whole[0]} {whole[1]}" role="img" aria-label="{name}" '
        'font-family="sans-serif" font-size="11" fill="#5a616e">'
        f'<rect width="{whole[0]}" height="{whole[1]}" fill="#ffffff"/>'
        f'<text x="{MARGIN}" y="{MARGIN - 12}">KV heads of each layer, down the layers</text>'
        f'{labels}<g transform="translate({MARGIN} {MARGIN}) scale({CELL})">'
        f"{_cells(mask.gates, mask.kept)}</g>"
        f"{_legend(MARGIN, height + MARGIN + 20)}</svg>\n"
    )


def _legend(x: int, y: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="12" height="12" fill="{FULL}"/>'
        f'<text x="{x + 18}" y="{y + 10}">gate 1: needs the whole past</text>'
        f'<rect x="{x}" y="{y + 17}" width="12" height="12" fill="{COMPRESSED}" '
        f'fill-opacity="{DIMMED}"/>'
        f'<text x="{x + 18}" y="{y + 27}">gate 0: a few tokens do (paler: compressed)</text>'
    )


def _cells(gates: Table, kept: Table) -> str:
    """One path for all cells of a shade; each cell is one unit with a small gap."""
    shade = np.round((2.0 * gates - 1.0) * LEVELS).astype(int)
    paths = []
    for level in range(-LEVELS, LEVELS + 1):
        for is_kept in (False, True):
            rows, columns = np.nonzero((shade == level) & (kept == is_kept))
            if rows.size == 0:
                continue
            squares = "".join(
                f"M{column} {row}h.92v.92h-.92z"
                for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            )
            colour = FULL if level >= 0 else COMPRESSED
            opacity = max(0.1, abs(level) / LEVELS) * (1.0 if is_kept else DIMMED)
            paths.append(f'<path d="{squares}" fill="{colour}" fill-opacity="{opacity:.2f}"/>')
    return "".join(paths)
