"""Evaluations: the problems of a job, the cells of its table, and every answer by itself.

A sample is stored once, when its answer ends: what is there is never answered again, and a second
answer to the same problem in the same cell is not taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects.sqlite import insert

from storage.database import Database
from storage.errors import StorageError
from storage.metrics import touch
from storage.owners import Owner, of_job
from storage.schema import CellTable, ProblemTable, SampleTable, detached

Place = tuple[str, int, int]
"""(cell, problem, draw): where a sample belongs."""


@dataclass(frozen=True)
class ProblemRow:
    """One problem; ``place`` counts from 0."""

    place: int
    prompt: str
    answer: str


@dataclass(frozen=True)
class CellRow:
    """One point of the curves; ``info`` says what it is."""

    key: str
    place: int
    info: dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """What counts of one sample: everything but its text."""

    cell: str
    problem: int
    draw: int  # 0 for greedy answers, else which of the drawn ones
    verdict: str
    stop: str
    tokens: int
    length: int  # prompt included
    kv_bytes: int


@dataclass(frozen=True)
class SampleRow(Mark):
    """One answer."""

    text: str


class Samples:
    """The answers of all evaluations; ``owner`` reads those of jobs they see."""

    def __init__(self, db: Database, owner: Owner = None) -> None:
        self._db, self._owner = db, owner

    def plan(
        self,
        job_id: str,
        problems: Iterable[tuple[str, str]],
        cells: Iterable[tuple[str, Mapping[str, Any]]],
    ) -> None:
        """Store (prompt, answer) and (key, info) in order. The same plan again changes nothing.

        Raises:
            StorageError: the job has other problems already; its samples would not fit them.
        """
        asked = [
            {"job_id": job_id, "place": i, "prompt": prompt, "answer": answer}
            for i, (prompt, answer) in enumerate(problems)
        ]
        points = [
            {"job_id": job_id, "place": i, "key": key, "info": dict(info)}
            for i, (key, info) in enumerate(cells)
        ]
        known = [(p.prompt, p.answer) for p in self.problems(job_id)]
        if known and known != [(p["prompt"], p["answer"]) for p in asked]:
            raise StorageError(
                f"Job {job_id} has begun with other problems: the task has changed. "
                "Start a new one."
            )
        with self._db.write() as session:
            touch(session, job_id)
            connection = session.connection()
            if asked and not known:
                connection.execute(insert(ProblemTable), asked)
            for point in points:
                statement = insert(CellTable).values(point)
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["job_id", "key"],
                        set_={"place": point["place"], "info": point["info"]},
                    )
                )

    def problems(self, job_id: str) -> Sequence[ProblemRow]:
        """In their order."""
        rows = of_job(ProblemTable, job_id, self._owner)
        statement = select(ProblemTable).where(rows).order_by(ProblemTable.place)
        with self._db.read() as session:
            return [detached(ProblemRow, row) for row in session.scalars(statement)]

    def cells(self, job_id: str) -> Sequence[CellRow]:
        """In their order."""
        rows = of_job(CellTable, job_id, self._owner)
        statement = select(CellTable).where(rows).order_by(CellTable.place)
        with self._db.read() as session:
            return [detached(CellRow, row) for row in session.scalars(statement)]

    def add(self, job_id: str, samples: Iterable[SampleRow]) -> None:
        """Store answers in one transaction; those that are there already stay as they are."""
        rows = [{"job_id": job_id, **asdict(sample)} for sample in samples]
        if not rows:
            return
        with self._db.write() as session:
            touch(session, job_id)
            session.connection().execute(insert(SampleTable).on_conflict_do_nothing(), rows)

    def known(self, job_id: str) -> set[Place]:
        """Where samples are already."""
        table = SampleTable
        rows = of_job(table, job_id, self._owner)
        statement = select(table.cell, table.problem, table.draw).where(rows)
        with self._db.read() as session:
            return {(cell, problem, draw) for cell, problem, draw in session.execute(statement)}

    def marks(self, job_id: str, cells: Sequence[str] | None = None) -> Sequence[Mark]:
        """All samples without their texts, or those of some cells."""
        names = list(Mark.__dataclass_fields__)
        columns = [getattr(SampleTable, name) for name in names]
        statement = select(*columns).where(of_job(SampleTable, job_id, self._owner))
        if cells is not None:
            statement = statement.where(SampleTable.cell.in_(cells))
        with self._db.read() as session:
            return [Mark(*row) for row in session.execute(statement)]

    def all(self, job_id: str) -> Sequence[SampleRow]:
        """All samples with their texts, by the order of cells, then problems, then draws."""
        return self._whole(of_job(SampleTable, job_id, self._owner))

    def answers(self, job_id: str, problem: int, draw: int | None = None) -> Sequence[SampleRow]:
        """All answers to one problem, in the order of cells and draws."""
        table = SampleTable
        which = [of_job(table, job_id, self._owner), table.problem == problem]
        return self._whole(*which, *([] if draw is None else [table.draw == draw]))

    def _whole(self, *which: ColumnElement[bool]) -> Sequence[SampleRow]:
        table, cell = SampleTable, CellTable
        statement = select(table).where(*which)
        ordered = statement.join(
            cell, (cell.job_id == table.job_id) & (cell.key == table.cell)
        ).order_by(cell.place, table.problem, table.draw)
        with self._db.read() as session:
            return [detached(SampleRow, row) for row in session.scalars(ordered)]
