import json
from pathlib import Path

import pytest

from rlkv.errors import UserError
from rlkv.models import load_model
from rlkv.tasks import Problem, get_task
from rlkv.training import self_distillation
from rlkv.training.self_distillation import (
    Solution,
    SolutionFile,
    attempt,
    fingerprint,
    solved_only,
    stratified,
)


@pytest.fixture(scope="module")
def tracer():
    return load_model("tracer")


def test_only_solved_problems_are_kept(tracer) -> None:
    model, tokenizer = tracer
    task = get_task("tracing")
    problems = task.problems(60, seed=2)
    tried = attempt(model, tokenizer, task, problems, max_new_tokens=112)
    assert [s.problem for s in tried] == problems
    assert sum(s.right for s in tried) >= 58
    # With too little room only the short ones end in time.
    short = solved_only(attempt(model, tokenizer, task, problems, max_new_tokens=56), task)
    assert {s.problem.size for s in short} == {5, 6}
    with pytest.raises(UserError, match="solves none of 60 'tracing' problems"):
        solved_only(attempt(model, tokenizer, task, problems, max_new_tokens=5), task)


def test_answers_are_asked_once(tracer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = tracer
    task = get_task("tracing")
    file = SolutionFile(tmp_path / "samples" / "x.jsonl")
    problems = task.problems(6, seed=2)
    first = attempt(model, tokenizer, task, problems[:4], max_new_tokens=112, known=file)
    asked = []
    answer = self_distillation._answer

    def counted(model, tokenizer, task, problems, length):
        asked.extend(problems)
        return answer(model, tokenizer, task, problems, length)

    monkeypatch.setattr(self_distillation, "_answer", counted)
    again = attempt(model, tokenizer, task, problems, max_new_tokens=112, known=file)
    assert asked == problems[4:]
    assert again[:4] == first


def test_a_stopped_search_keeps_what_it_found(tracer, tmp_path: Path) -> None:
    model, tokenizer = tracer
    task = get_task("tracing")
    file = SolutionFile(tmp_path / "x.jsonl")
    tried = attempt(
        model,
        tokenizer,
        task,
        task.problems(9, seed=2),
        max_new_tokens=112,
        known=file,
        rows_at_once=3,
        progress=lambda done, total, right: done < 6,
    )
    assert len(tried) == 6
    assert len(file.read()) == 6


def test_a_torn_line_is_asked_again_and_harms_no_other(tmp_path: Path) -> None:
    file = SolutionFile(tmp_path / "x.jsonl")
    one, two, three = (Solution(Problem(f"q{i}", "a"), (1, 2), True) for i in range(3))
    file.add([one, two])
    text = file.path.read_text()
    file.path.write_text(text[:-9])  # the process died while writing
    assert list(file.read().values()) == [one]
    file.add([three])
    assert list(file.read().values()) == [one, three]
    assert json.loads(file.path.read_text().splitlines()[-1])["right"] is True


def test_a_fingerprint_names_model_task_and_length(tracer) -> None:
    model, tokenizer = tracer
    task = get_task("tracing")
    same = fingerprint(model, tokenizer, task, 112)
    assert same == fingerprint(*load_model("tracer"), task, 112)
    assert same != fingerprint(model, tokenizer, task, 113)
    other, _ = load_model("tracer")
    other.model.layers[2].mlp.up_proj.weight.data[0, 0] += 1
    assert same != fingerprint(other, tokenizer, task, 112)


def _solutions(lengths: list[int]) -> list[Solution]:
    return [Solution(Problem(f"q{i}", "a"), (0,) * n, True) for i, n in enumerate(lengths)]


def test_a_pool_is_drawn_evenly_over_lengths() -> None:
    many = _solutions([10] * 900 + [30] * 60 + [60] * 60 + [89] * 60)
    pool = stratified(many, 100, "", seed=1)
    assert len(pool) == len({s.problem.prompt for s in pool}) == 100
    counts = {n: sum(len(s.ids) == n for s in pool) for n in (10, 30, 60, 89)}
    assert counts == {10: 25, 30: 25, 60: 25, 89: 25}
    assert pool == stratified(many, 100, "", seed=1)
    assert pool != stratified(many, 100, "", seed=2)
    # Elimination and the look at the hard mask take the first of them.
    assert {len(s.ids) for s in pool[:20]} == {10, 30, 60, 89}


def test_strata_of_ones_own_and_what_is_missing() -> None:
    many = _solutions([5] * 50 + [15] * 10)
    pool = stratified(many, 40, "10:10,20:30", seed=0)
    assert len(pool) == 40
    assert sum(len(s.ids) == 15 for s in pool) == 10  # all there are; the others make up for it
    assert stratified(many, 0, "", seed=0) == many
