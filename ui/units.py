"""Numbers as people read them: bytes, shares, durations. Knows no page."""

from __future__ import annotations

NOT_YET = "\u2013"
"""Stands where a number will be."""


def bytes_text(n: float) -> str:
    """`1536 -> "1.5 KiB"`; three significant figures, binary units."""
    value = float(n)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{_three(value)} {unit}"
        value /= 1024
    return f"{_three(value)} TiB"


def percent(share: float, digits: int = 0) -> str:
    """`0.4375 -> "44 %"`."""
    return f"{100 * share:.{digits}f} %"


def share_text(share: float) -> str:
    """`0.125 -> "12.5 %"`: a share that somebody chose, to two decimals at most."""
    return f"{round(100 * share, 2):g} %"


def duration(seconds: float) -> str:
    """`75 -> "1 min 15 s"`; coarser as it grows."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest:02d} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
