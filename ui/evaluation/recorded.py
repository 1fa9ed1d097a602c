"""The evaluation that ships with the app, so that the page has curves before anybody pressed Start.

Made by `python -m rlkv sweep` on the shipped mask; docs/results.md has the command.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from html import escape

from rlkv.errors import UserError
from rlkv.evaluation.answers import read_answers
from rlkv.evaluation.config import make_eval_config
from rlkv.evaluation.export import read_record
from storage.samples import CellRow, Mark, ProblemRow, SampleRow
from ui.components.job_list import state_badge
from ui.components.tiles import tiles
from ui.evaluation.measured import Measured
from ui.evaluation.view import figures
from ui.studio import EXAMPLES

KEY = "recorded"
"""Stands where others have the id of a job."""


@lru_cache(maxsize=1)
def recorded() -> Measured | None:
    """The shipped evaluation, or None where it is missing or can't be read."""
    try:
        found, settings, _ = read_record(EXAMPLES / "evaluation.json")
        return Measured(KEY, 1, make_eval_config(settings), found)
    except UserError as error:
        logging.getLogger(__name__).warning("No recorded evaluation: %s", error)
        return None


class RecordedAnswers:
    """Reads its answers as `storage.samples.Samples` reads those of a job."""

    def __init__(self) -> None:
        told = read_answers(EXAMPLES / "answers.json.gz")
        self._problems = [ProblemRow(i, *one) for i, one in enumerate(told.problems)]
        self._cells = [CellRow(key, i, info) for i, (key, info) in enumerate(told.cells)]
        self._samples = [SampleRow(**one) for one in told.samples]

    def problems(self, job_id: str) -> Sequence[ProblemRow]:
        """In their order."""
        return self._problems

    def cells(self, job_id: str) -> Sequence[CellRow]:
        """In their order."""
        return self._cells

    def marks(self, job_id: str, cells: Sequence[str]) -> Sequence[Mark]:
        """The answers of some cells."""
        return [one for one in self._samples if one.cell in cells]

    def answers(self, job_id: str, problem: int) -> Sequence[SampleRow]:
        """All answers to one problem."""
        return [one for one in self._samples if one.problem == problem]

    def all(self, job_id: str) -> Sequence[SampleRow]:
        """All answers."""
        return self._samples


@lru_cache(maxsize=1)
def recorded_answers() -> RecordedAnswers:
    """Read when somebody first wants them.

    Raises:
        UserError: where they are missing or can't be read.
    """
    return RecordedAnswers()


def top(measured: Measured) -> str:
    """As `view.top`, for what no job has measured here."""
    return (
        f'<div class="live-top" data-job="{KEY}" data-state="recorded"><h2>{_title(measured)}</h2>'
        f'{state_badge("recorded")}<span class="say">Comes with the app: the shipped mask and all '
        "methods.</span></div>"
        f"{tiles(figures(measured))}"
    )


def entry(current: bool) -> str:
    """Its line in the list of evaluations; "" where there is none."""
    measured = recorded()
    if measured is None:
        return ""
    return (
        f'<div class="jobs"><button type="button" data-job="{KEY}" '
        f'aria-current="{str(current).lower()}"><span class="name">{_title(measured)}</span>'
        f'{state_badge("recorded")}<span class="meta">{measured.results.samples:,} answers</span>'
        "</button></div>"
    )


def _title(measured: Measured) -> str:
    config = measured.config
    return escape(f"{config.model} · {config.task} · {config.problems} problems")
