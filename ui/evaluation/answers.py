"""Every answer of an evaluation: two cells side by side, problem by problem. Escapes everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice

from rlkv.evaluation.results import gain
from storage.samples import Mark, ProblemRow, SampleRow
from ui.evaluation.view import NAMES
from ui.units import bytes_text

FILTERS = {
    "all": "All",
    "lost": "Only A right",
    "won": "Only B right",
    "both": "Both right",
    "none": "None right",
}
MOST = 1000
"""Problems listed at once."""
MOST_DOTS = 8
"""Drawn answers that have a dot each."""
STOPS = {"end": "ended", "length": "reached the limit", "repetition": "stuck, stopped"}
Verdicts = Mapping[tuple[str, int, int], str]


def verdicts(marks: Sequence[Mark]) -> Verdicts:
    """By (cell, problem, draw)."""
    return {(m.cell, m.problem, m.draw): m.verdict for m in marks}


def listed(
    problems: Sequence[ProblemRow], found: Verdicts, a: str, b: str, wanted: str, chosen: int | None
) -> str:
    """The problems that the filter lets through in any draw, each with all its verdicts."""
    draws = 1 + max((draw for _, _, draw in found), default=0)
    rows = []
    for problem in problems:
        pairs = [
            (found.get((a, problem.place, draw)), found.get((b, problem.place, draw)))
            for draw in range(draws)
        ]
        if any(_passes(wanted, *pair) for pair in pairs):
            rows.append(_entry(problem, pairs, chosen == problem.place))
    words = f", in any of {draws} drawn answers" if draws > 1 and wanted != "all" else ""
    count = (
        f'<p class="count" data-figure="listed">{len(rows)} of {len(problems)} problems{words}</p>'
    )
    return f'{count}<div class="answer-list">{"".join(islice(rows, MOST))}</div>'


def compared(marks: Sequence[Mark], a: str, b: str) -> str:
    """The accuracy of B less that of A with its interval; "" before both were asked anything."""
    if a == b:
        return ""
    first, second = ([mark for mark in marks if mark.cell == cell] for cell in (a, b))
    found = gain(first, second)
    if found is None:
        return ""
    more, (low, high), problems = found
    return (
        f'<p class="note" data-figure="gain">Right, B less A: {_points(more)} points '
        f"({_points(low)} to {_points(high)} at 95 %), over {problems:,} problems that both have "
        "answers to.</p>"
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def _passes(wanted: str, first: str | None, second: str | None) -> bool:
    if wanted == "all":
        return True
    if first is None or second is None:
        return False
    a, b = first == "right", second == "right"
    return {"lost": a and not b, "won": b and not a, "both": a and b}.get(wanted, not (a or b))


def _entry(
    problem: ProblemRow, pairs: Sequence[tuple[str | None, str | None]], current: bool
) -> str:
    return (
        f'<button type="button" data-problem="{problem.place}" '
        f'aria-current="{str(current).lower()}"><span class="no">{problem.place + 1}</span>'
        f'<span class="q">{escape(problem.prompt[:160])}</span>'
        f"{_side('A', [a for a, _ in pairs])}{_side('B', [b for _, b in pairs])}</button>"
    )


def _side(side: str, verdicts: Sequence[str | None]) -> str:
    """A dot for each draw, or how many are right where dots would fill the line."""
    if len(verdicts) > MOST_DOTS:
        right = sum(verdict == "right" for verdict in verdicts)
        words = f"{side}: {right} of {len(verdicts)} drawn answers right"
        return f'<span class="tally" title="{words}">{side} {right}/{len(verdicts)}</span>'
    several = len(verdicts) > 1
    dots = (
        _dot(f"{side}, drawn answer {draw + 1}" if several else side, verdict)
        for draw, verdict in enumerate(verdicts)
    )
    return f'<span class="side">{"".join(dots)}</span>'


def _dot(side: str, verdict: str | None) -> str:
    words = f"{side}: {NAMES[verdict]}" if verdict else f"{side}: not asked yet"
    return f'<i class="dot v-{verdict or "open"}" title="{words}" aria-label="{words}"></i>'


def pair(
    problem: ProblemRow, answers: Sequence[SampleRow], a: str, b: str, titles: Mapping[str, str]
) -> str:
    """Question, expected answer and the two transcripts, for every draw."""
    by_place = {(row.cell, row.draw): row for row in answers}
    draws = sorted({row.draw for row in answers})
    parts = []
    for draw in draws:
        first, second = by_place.get((a, draw)), by_place.get((b, draw))
        same = _shared(first, second)
        words = f'<p class="note">Drawn answer {draw + 1}</p>' if len(draws) > 1 else ""
        parts.append(
            f'{words}<div class="pair">{_transcript("A", titles.get(a, a), first, same)}'
            f"{_transcript('B', titles.get(b, b), second, same)}</div>"
        )
    return (
        f'<div class="asked" data-problem="{problem.place}"><h3>Problem {problem.place + 1}</h3>'
        f'<pre class="q">{escape(problem.prompt)}</pre>'
        f'<p class="note">Expected: <code>{escape(problem.answer[:400])}</code></p></div>'
        + "".join(parts)
    )


def _shared(a: SampleRow | None, b: SampleRow | None) -> int:
    """Characters that both answers begin with; 0 where one is missing or both are the same."""
    if a is None or b is None or a.text == b.text:
        return 0
    pairs = enumerate(zip(a.text, b.text, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a.text), len(b.text)))


def _transcript(side: str, title: str, row: SampleRow | None, same: int) -> str:
    head = f"<h4><b>{side}</b> {escape(title)}</h4>"
    if row is None:
        return f'<section>{head}<p class="note">Not asked yet.</p></section>'
    facts = f"{row.tokens} tokens · {STOPS.get(row.stop, row.stop)} · {bytes_text(row.kv_bytes)}"
    begin, rest = row.text[:same], row.text[same:]
    text = f'<span class="same">{escape(begin)}</span>' if begin else ""
    if same and rest:
        text += f"<mark>{escape(rest[0])}</mark>"
        rest = rest[1:]
    return (
        f'<section data-cell="{escape(row.cell)}" data-verdict="{escape(row.verdict)}">{head}'
        f'<p class="facts"><i class="dot v-{escape(row.verdict)}"></i>'
        f"{escape(NAMES.get(row.verdict, row.verdict))} · {facts}</p>"
        f'<pre class="said" tabindex="0">{text}{escape(rest)}</pre></section>'
    )
