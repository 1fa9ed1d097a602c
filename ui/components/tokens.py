"""A text as its tokens, coloured by what each one counts; drawn by `static/tokens.js`.

Two uses: where a head looks (weights by token, and by query with `pack_rows`), and what a change
of the mask does to an answer (`kl_tokens`). The values are plain data and the browser puts all
text in as text. Knows arrays and words, nothing of models or pages.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from ui.components.drawn import drawn

Value = dict[str, Any]

LEGEND_LOOKS = [
    ["comp", "sinks and recent tokens: every head keeps them"],
    ["far", "far tokens: a compressed head cannot see them"],
]
LEGEND_KL = [
    ["bad", "how much the next token's odds move (KL)"],
    ["changed", "first changed token"],
]
FULL_KL = 1.0
"""The KL divergence in nats that gets the strongest colour."""


def tokens(value: Value | None, elem_id: str) -> gr.HTML:
    """A component that shows the text it holds; its event `pick` carries a token's `index`."""
    return drawn(
        "rlkvTokens", "tokens-root", elem_id, value=value, classes="tokens-box",
        more="index => trigger('pick', {index})",
    )  # fmt: skip


def tokens_value(
    title: str,
    texts: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    roles: Sequence[str] | None = None,
    tips: Sequence[str] | None = None,
    pattern: NDArray[np.floating[Any]] | str | None = None,
    window: tuple[int, int] | None = None,
    query: int | None = None,
    tone: str = "",
    legend: list[list[str]] | None = None,
    breaks: Sequence[int] = (),
    note: str = "",
    name: str = "tokens",
    height: int | None = None,
    export: bool = True,
) -> Value:
    """What the widget shows.

    Args:
        weights: [n] in 0..1, the depth of each token's background.
        roles: [n] out of "sink", "recent", "far", "query", "later", "lost", "new", "changed" and
            "", which are its colour.
        tips: [n] further lines of the tooltips.
        pattern: attention [n, n] of each token (row) on the ones before, or what `pack_rows` made
            of it: pointing at a token then shows where it looks.
        window: (sink, recent) of a compressed head; goes with `pattern`.
        query: the token that is shown looking at first.
        tone: "bad" colours tokens without a role for damage.
        breaks: a new line starts before each of these tokens.

    Raises:
        ValueError: if the lists do not fit each other.
    """
    count = len(texts)
    for words, given in (("weights", weights), ("roles", roles), ("tips", tips)):
        if given is not None and len(given) != count:
            raise ValueError(f"{len(given)} {words} for {count} tokens")
    if isinstance(pattern, np.ndarray):
        if pattern.shape != (count, count):
            raise ValueError(f"a pattern of {pattern.shape} for {count} tokens")
        pattern = pack_rows(pattern)
    if pattern is not None and window is None:
        raise ValueError("a pattern needs a window")
    return {
        "title": title,
        "texts": list(texts),
        "weights": None if weights is None else _shares(weights),
        "roles": None if roles is None else list(roles),
        "tips": None if tips is None else list(tips),
        "matrix": pattern,
        "window": None if window is None else {"sink": window[0], "recent": window[1]},
        "query": query,
        "breaks": list(breaks),
        "tone": tone,
        "legend": legend if legend is not None else (LEGEND_LOOKS if window else []),
        "note": note,
        "name": name,
        "summary": f"{title}: {count} tokens",
        "height": height,
        "export": export,
    }


def roles_of(count: int, query: int, window: tuple[int, int]) -> list[str]:
    """What each token is to the one at `query`; later ones are ""."""
    sink, recent = window
    return [
        "query" if j == query
        else "" if j > query
        else "sink" if j < sink
        else "recent" if query - j < recent
        else "far"
        for j in range(count)
    ]  # fmt: skip


def kl_tokens(
    title: str,
    texts: Sequence[str],
    kl: Sequence[float],
    *,
    before: Sequence[tuple[str, float]] | None = None,
    after: Sequence[tuple[str, float]] | None = None,
    first_changed: int | None = None,
    names: tuple[str, str] = ("full", "compressed"),
    **more: Any,
) -> Value:
    """An answer coloured by the KL divergence at each token, in nats.

    `before` and `after` [n] are the most likely token under each mask with its probability, for
    the tooltips; `first_changed` is the index of the first token that would be another one.
    """
    roles = ["changed" if i == first_changed else "" for i in range(len(texts))]
    tips = []
    for i, value in enumerate(kl):
        lines = [f"KL {value:.3g} nats"]
        for label, top in zip(names, (before, after), strict=True):
            if top is not None:
                lines.append(f"{label}: “{top[i][0]}” {100 * top[i][1]:.1f} %")
        tips.append("\n".join(lines))
    weights = [min(1.0, (max(value, 0.0) / FULL_KL) ** 0.5) for value in kl]
    more.setdefault("legend", LEGEND_KL)
    return tokens_value(title, texts, weights=weights, roles=roles, tips=tips, tone="bad", **more)


def pack_rows(pattern: NDArray[np.floating[Any]]) -> str:
    """Attention [n, n] as base64 of its lower triangle, one byte a weight.

    Weight = (byte / 255)²: fine steps for the many small weights, n (n + 1) / 2 bytes in all.
    """
    rows, columns = np.tril_indices(pattern.shape[0])
    shares = np.clip(np.nan_to_num(pattern[rows, columns]), 0.0, 1.0)
    return base64.b64encode(np.round(255 * np.sqrt(shares)).astype(np.uint8)).decode()


def unpack_rows(packed: str, count: int) -> NDArray[np.float64]:
    """What `pack_rows` packed, [count, count], to a byte's exactness."""
    pattern = np.zeros((count, count))
    stored = np.frombuffer(base64.b64decode(packed), dtype=np.uint8)
    pattern[np.tril_indices(count)] = (stored / 255.0) ** 2
    return pattern


def _shares(values: Sequence[float]) -> list[float]:
    return [round(float(np.clip(np.nan_to_num(v), 0.0, 1.0)), 4) for v in values]
