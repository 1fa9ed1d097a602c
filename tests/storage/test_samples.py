"""Problems, cells and answers of an evaluation: stored once, read back whole."""

from dataclasses import replace
from typing import Any

import pytest

from storage.database import Database
from storage.errors import StorageError
from storage.jobs import Job, Jobs
from storage.metrics import Metrics
from storage.samples import SampleRow, Samples

PROBLEMS = [("a=3; ?a", "3"), ("b=4; ?b", "4")]
CELLS: list[tuple[str, dict[str, Any]]] = [
    ("full", {"title": "Full"}),
    ("learned@0.5", {"title": "Learned", "sparsity": 0.5}),
]
ANSWER = SampleRow("full", 0, 0, "right", "end", 7, 20, 640, "3")


@pytest.fixture
def samples(db: Database, job: Job) -> Samples:
    samples = Samples(db)
    samples.plan(job.id, PROBLEMS, CELLS)
    return samples


def test_a_plan_is_kept_in_order(samples: Samples, job: Job) -> None:
    samples.plan(job.id, PROBLEMS, CELLS)

    assert [(p.place, p.prompt, p.answer) for p in samples.problems(job.id)] == [
        (0, "a=3; ?a", "3"),
        (1, "b=4; ?b", "4"),
    ]
    assert [(c.key, c.info) for c in samples.cells(job.id)] == CELLS


def test_other_problems_for_the_same_job_are_refused(samples: Samples, job: Job) -> None:
    with pytest.raises(StorageError, match="task has changed"):
        samples.plan(job.id, [("c=1; ?c", "1"), PROBLEMS[1]], CELLS)
    assert samples.problems(job.id)[0].prompt == "a=3; ?a"


def test_a_second_answer_to_the_same_place_is_not_taken(samples: Samples, job: Job) -> None:
    other = replace(ANSWER, text="9", verdict="wrong")
    samples.add(job.id, [ANSWER, replace(ANSWER, problem=1)])
    samples.add(job.id, [other, replace(other, draw=1)])

    assert samples.known(job.id) == {("full", 0, 0), ("full", 1, 0), ("full", 0, 1)}
    assert [(s.draw, s.text) for s in samples.answers(job.id, 0)] == [(0, "3"), (1, "9")]
    assert samples.answers(job.id, 0, draw=1) == [replace(other, draw=1)]


def test_answers_come_in_the_order_of_cells(samples: Samples, job: Job) -> None:
    samples.add(job.id, [replace(ANSWER, cell="learned@0.5"), ANSWER])

    assert [s.cell for s in samples.answers(job.id, 0)] == ["full", "learned@0.5"]
    assert {(m.cell, m.verdict, m.kv_bytes) for m in samples.marks(job.id)} == {
        ("full", "right", 640),
        ("learned@0.5", "right", 640),
    }


def test_all_answers_come_cell_by_cell(samples: Samples, job: Job) -> None:
    places = [("full", 0, 0), ("full", 0, 1), ("full", 1, 0), ("learned@0.5", 0, 0)]
    samples.add(job.id, [replace(ANSWER, cell=c, problem=p, draw=d) for c, p, d in places[::-1]])

    assert [(s.cell, s.problem, s.draw) for s in samples.all(job.id)] == places


def test_new_answers_are_a_visible_change(samples: Samples, db: Database, job: Job) -> None:
    before = Metrics(db).version(job.id)
    samples.add(job.id, [ANSWER])
    assert Metrics(db).version(job.id) > before


def test_they_go_with_their_job(samples: Samples, db: Database, job: Job) -> None:
    samples.add(job.id, [ANSWER])
    Jobs(db).request_stop(job.id)
    Jobs(db).delete(job.id)
    assert (samples.marks(job.id), samples.problems(job.id), samples.cells(job.id)) == ([], [], [])
