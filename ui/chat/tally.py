"""The tally of blind votes, and what a visitor may still use, in words."""

from __future__ import annotations

import math
from html import escape

from storage.votes import Contender, Tally
from ui import visitor
from ui.chat.kept import Kept
from ui.studio import Studio
from ui.units import percent


def tally(kept: Kept) -> str:
    """HTML of the votes so far; "" before the first."""
    rows = "".join(_row(one) for one in kept.tally())
    return f'<h3 class="cap2">Blind votes</h3><ul class="tally">{rows}</ul>' if rows else ""


def left(studio: Studio) -> str:
    """HTML of the model time that a visitor of a shared copy has left; "" at home."""
    if not studio.settings.shared:
        return ""
    time = studio.model_time
    seconds = math.floor(time.left(visitor.address()))
    return (
        f'<p class="note" data-seconds-left="{seconds}">Model time: {seconds:,} of '
        f"{time.most:,.0f} s are left to you this hour.</p>"
    )


def _row(one: Tally) -> str:
    counts = [(one.won, _name(one.contender)), (one.lost, _name(one.against))]
    said = " · ".join(f"<b>{n}</b> {escape(name)}" for n, name in counts)
    model = escape(one.model.rpartition("/")[2])
    return (
        f'<li data-won="{one.won}" data-lost="{one.lost}" data-tied="{one.tied}">{said} · '
        f"<b>{one.tied}</b> neither <small>{model}</small></li>"
    )


def _name(one: Contender) -> str:
    return f"{one.mask} at {percent(one.sparsity)}" if one.mask else "full"
