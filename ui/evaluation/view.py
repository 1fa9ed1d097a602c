"""One evaluation as the page shows it: figures, table, errors. Escapes what it shows."""

from __future__ import annotations

from html import escape
from typing import Any

from rlkv.evaluation.results import Point, Results, Series, unseen
from rlkv.evaluation.samples import VERDICTS
from storage.jobs import Job
from ui.components.job_list import share, state_badge
from ui.components.tiles import Tile, tiles
from ui.evaluation.measured import Measured
from ui.units import NOT_YET, bytes_text, percent, share_text

EMPTY = (
    '<div class="blank">Press Start: the curves form here, answer by answer. With the settings as '
    "they are that takes a few minutes on two CPU cores.</div>"
)
NAMES = {
    "right": "right",
    "wrong": "finished and wrong",
    "overlong": "cut off at the limit",
    "repetitive": "stuck in a loop",
}


def top(job: Job, measured: Measured) -> str:
    """Title, state, progress and the figures that matter."""
    new = job.message not in ("", "Answering")
    message = f'<span class="say">{escape(job.message)}</span>' if new else ""
    meter = "" if job.is_terminal else _meter(job)
    return (
        f'<div class="live-top" data-job="{escape(job.id)}" data-state="{escape(job.state)}">'
        f"<h2>{escape(job.title)}</h2>{state_badge(job.state)}{message}</div>{meter}"
        f"{tiles(figures(measured))}{few(measured)}"
    )


def few(measured: Measured) -> str:
    """Said where losses beyond the tolerance can hide behind a near-lossless point."""
    problems, tolerance = measured.config.problems, measured.config.tolerance
    if measured.best is None or tolerance >= unseen(problems):
        return ""
    return (
        f'<p class="note" data-figure="few">{problems} problems are few: a loss of up to '
        f"{100 * unseen(problems):.0f} points can go unseen in them, and {100 * tolerance:g} count "
        "as near-lossless. Ask more.</p>"
    )


def _meter(job: Job) -> str:
    phase = job.phase if job.phase not in ("", "answering") else ""
    words = f"{job.step:,} of {job.total_steps:,} answers" if job.total_steps else "Beginning"
    if job.state == "queued":
        words = "Waits until the jobs before it have ended"
    if phase:
        done = f": {job.phase_done} of {job.phase_total}" if job.phase_total else ""
        words = f"{'Ranking the heads' if phase == 'ranking' else phase}{done}"
    part = job.phase_done / job.phase_total if phase and job.phase_total else share(job)
    return (
        f'<div class="eval-meter"><i style="width:{min(part, 1.0):.1%}"></i></div>'
        f'<p class="phase-now" data-figure="phase">{escape(words)}</p>'
    )


def figures(measured: Measured) -> list[Tile]:
    """The figures that matter most."""
    found, best = measured.results, measured.best
    full = found.full
    items = [Tile("Full cache", percent(full.accuracy, 1) if full else NOT_YET, "right", "full")]
    tolerance = f"Near-lossless ({100 * measured.config.tolerance:g} points)"
    if best is None:
        items.append(Tile(tolerance, NOT_YET, "sparsity", key="near-lossless"))
    else:
        point = best[1]
        items += [
            Tile(tolerance, share_text(point.sparsity), "sparsity", "comp", key="near-lossless"),
            Tile("Right there", percent(point.accuracy, 1), key="right-there"),
            Tile("KV saved there", _saved(full, point), "mean", key="saved-there"),
        ]
    items.append(Tile("Answers", f"{found.samples:,}", f"of {found.wanted:,}"))
    return items


def _saved(full: Point | None, point: Point) -> str:
    """By measured bytes for each token in the cache: answers differ in length."""
    if full is None or not full.kv_bytes:
        return NOT_YET
    each = point.kv_bytes / point.length / (full.kv_bytes / full.length)
    return percent(1 - each)


# --- table --------------------------------------------------------------------------------


def table(measured: Measured) -> str:
    """Accuracy by method and sparsity; every cell opens its answers."""
    found = measured.results
    columns = sorted({p.sparsity for s in found.series for p in s.points})
    if not columns:
        return ""
    best = measured.best
    head = "".join(f'<th scope="col">{share_text(c)}</th>' for c in columns)
    shown = [one for one in found.series if one.points]
    rows = [_row(one, columns, best[1] if best and one is best[0] else None) for one in shown]
    full = f" Full cache: {percent(found.full.accuracy, 1)}." if found.full else ""
    return (
        '<div class="eval-table" tabindex="0" aria-label="Table of accuracies, scrolls sideways">'
        f"<table><caption>Share right by sparsity; press one to read its answers.{full}</caption>"
        f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def _row(one: Series, columns: list[float], best: Point | None) -> str:
    points = {point.sparsity: point for point in one.points}
    title = f"{one.title}, top compressed" if one.top else one.title
    cells = []
    for column in columns:
        point = points.get(column)
        if point is None:
            cells.append("<td></td>")
            continue
        kind = "best" if point is best else "" if point.complete else "partial"
        span = f"{100 * point.interval[0]:.1f} to {100 * point.interval[1]:.1f}"
        early = "" if point.complete else "Still being measured, short problems first: "
        hover = (
            f"{early}{span} %, {point.samples} answers, {point.tokens:.1f} tokens, "
            f"{bytes_text(point.kv_bytes)}"
        )
        cells.append(
            f'<td class="{kind}"><button type="button" data-cell="{escape(point.cells[0])}" '
            f'data-accuracy="{point.accuracy!r}" title="{escape(hover)}">'
            f"{100 * point.accuracy:.1f}</button></td>"
        )
    sign = f'<i class="m-{escape(one.method)}"></i>'
    return f'<tr><th scope="row">{sign}{escape(title)}</th>{"".join(cells)}</tr>'


# --- errors -------------------------------------------------------------------------------


def errors(found: Results) -> str:
    """How answers ended, as stacked bars, one a point."""
    rows = [("Full cache", "", found.full)] if found.full else []
    for one in found.series:
        if not one.top:
            rows += [(one.title, share_text(p.sparsity), p) for p in one.points if p.complete]
    keys = "".join(f'<span><i class="v-{v}"></i>{escape(NAMES[v])}</span>' for v in VERDICTS)
    lines = []
    last = None
    for title, sparsity, point in rows:
        if point is None:
            continue
        name = escape(title) if title != last else ""
        last = title
        lines.append(
            f'<div class="mode-row"><span class="who">{name}</span><span>{sparsity}</span>'
            f'{_bar(point)}<span class="len">{point.tokens:.0f} tokens</span></div>'
        )
    return f'<div class="mode-keys">{keys}</div><div class="modes">{"".join(lines)}</div>'


def _bar(point: Point) -> str:
    words = ", ".join(f"{NAMES[v]} {percent(point.modes[v], 1)}" for v in VERDICTS)
    parts = "".join(
        f'<i class="v-{v}" style="width:{point.modes[v]:.2%}"></i>'
        for v in VERDICTS
        if point.modes[v]
    )
    return f'<span class="mode-bar" role="img" aria-label="{words}" title="{words}">{parts}</span>'


def choices(measured_cells: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """(label, key) of every cell, for choosing whose answers to read."""
    found = []
    for key, info in measured_cells:
        if key == "full":
            found.append(("Full cache", key))
            continue
        top_words = ", top compressed" if info.get("top") else ""
        number = key.partition("@")[0].removesuffix("-top").rpartition("-")[2]
        seed = f" {number}" if info.get("method") == "random" else ""
        found.append((f"{info['title']}{seed}{top_words}, {share_text(info['sparsity'])}", key))
    return found
