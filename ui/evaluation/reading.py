"""Reading answers: which two cells, which problems, and the pair that is open."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import gradio as gr

from rlkv.errors import UserError
from storage.errors import StorageError
from storage.samples import CellRow, Samples
from ui.evaluation import answers
from ui.evaluation.layout import Page
from ui.evaluation.recorded import KEY, RecordedAnswers, recorded_answers
from ui.evaluation.view import choices
from ui.events import FOLLOWS, QUIET
from ui.studio import Studio

SHOW = "() => document.querySelector('#reading').scrollIntoView({block: 'start'})"
NOTHING = '<div class="blank">Choose a problem from the list.</div>'


def wire_reading(studio: Studio, p: Page) -> None:
    """The panel follows the job; the list and the pair follow the panel."""
    r = p.reading

    def job_changed(seen: Any, a: Any, b: Any) -> list[Any]:
        return _cells(studio, seen[0] if seen else None, a, b)

    def listed(seen: Any, a: Any, b: Any, wanted: Any, problem: Any, before: Any) -> list[Any]:
        job_id = seen[0] if seen else None
        if not job_id or not a or not b:
            return ["", NOTHING, before]
        shown = _shown(studio, str(job_id), str(a), str(b), str(wanted), problem)
        now = hashlib.sha256("".join(shown).encode()).hexdigest()
        # Painted anew the list would lose its place: while a job runs most looks find the same.
        return [gr.skip()] * 3 if now == before else [*shown, now]

    def opened(seen: Any, a: Any, b: Any, wanted: Any, event: gr.EventData) -> list[Any]:
        problem = _number(event)
        if problem is None or not seen:
            return [gr.skip()] * 3
        return [problem, *_shown(studio, str(seen[0]), str(a), str(b), str(wanted), problem)]

    p.table.change(job_changed, [p.seen, r.a, r.b], [r.panel, r.a, r.b], **QUIET)
    which = [p.seen, r.a, r.b, r.wanted]
    gr.on(
        [p.table.change, r.a.change, r.b.change, r.wanted.change],
        listed, [*which, r.problem, r.shown], [r.list, r.pair, r.shown], **FOLLOWS,
    )  # fmt: skip
    r.list.open(opened, which, [r.problem, r.list, r.pair], **QUIET)
    p.table.open(_cell, None, r.b, **QUIET).success(
        None, None, None, js=SHOW, api_visibility="private"
    )


def _cells(studio: Studio, job_id: str | None, a: Any, b: Any) -> list[Any]:
    """The panel and both of its cells, as chosen where the job has them."""
    try:
        cells = _samples(studio, job_id or "").cells(job_id or "")
    except UserError as error:
        logging.getLogger(__name__).warning("No recorded answers: %s", error)
        cells = []
    options = choices([(c.key, c.info) for c in cells])
    keys = [key for _, key in options]
    if not options:
        return [gr.update(visible=False), gr.skip(), gr.skip()]
    first = a if a in keys else keys[0]
    second = b if b in keys else _first_compressed(keys)
    return [
        gr.update(visible=True),
        gr.update(choices=options, value=first),
        gr.update(choices=options, value=second),
    ]


def _samples(studio: Studio, job_id: str) -> Samples | RecordedAnswers:
    """Where the answers of an evaluation are read."""
    return recorded_answers() if job_id == KEY else studio.samples


def _cell(event: gr.EventData) -> Any:
    """The cell that a click in the table names: an event's data is whatever a client sends."""
    data = getattr(event, "_data", None)
    cell = data.get("cell") if isinstance(data, dict) else None
    return cell if isinstance(cell, str) else gr.skip()


def _first_compressed(keys: Sequence[str]) -> str:
    """A cell worth reading beside the full cache: the first one near half of the heads."""
    near = sorted(keys[1:], key=lambda key: abs(_sparsity(key) - 0.5))
    return near[0] if near else keys[0]


def _sparsity(key: str) -> float:
    try:
        return float(key.rpartition("@")[2])
    except ValueError:
        return 2.0


def _number(event: gr.EventData) -> int | None:
    data = getattr(event, "_data", None)
    number = data.get("problem") if isinstance(data, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _shown(
    studio: Studio, job_id: str, a: str, b: str, wanted: str, problem: int | None
) -> list[Any]:
    """The list and the open pair."""
    try:
        samples = _samples(studio, job_id)
        problems = samples.problems(job_id)
        marks = samples.marks(job_id, cells=(a, b))
        cells = samples.cells(job_id)
    except (StorageError, UserError):
        return ["", NOTHING]
    by_place = {one.place: one for one in problems}
    chosen = by_place.get(problem) if problem is not None else None
    found = answers.verdicts(marks)
    shown = answers.compared(marks, a, b)
    shown += answers.listed(problems, found, a, b, wanted, chosen.place if chosen else None)
    if chosen is None:
        return [shown, NOTHING]
    rows = [row for row in samples.answers(job_id, chosen.place) if row.cell in (a, b)]
    return [shown, answers.pair(chosen, rows, a, b, _titles(cells))]


def _titles(cells: Sequence[CellRow]) -> dict[str, str]:
    return {key: label for label, key in choices([(c.key, c.info) for c in cells])}
