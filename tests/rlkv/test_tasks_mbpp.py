"""MBPP: which tests of it can be used, how its problems are split, where the program is."""

import json
from pathlib import Path

import pytest

from rlkv.tasks import get_task
from rlkv.tasks.mbpp import program, read_check, read_problem, same_value
from tests.rlkv.task_stage import add_row, write_datasets


@pytest.mark.parametrize(
    ("test", "check"),
    [
        ("assert f((1, 2)) == [3]", ("f", "f((1, 2))", "[3]")),
        ("assert set(f(1)) == set([3])", ("f", "set(f(1))", "set([3])")),
        ("assert not f(1)", ("f", "bool(not f(1))", "True")),
        ("assert f(1) is None", ("f", "f(1)", "None")),
        ("assert math.isclose(f(1), 2.5, rel_tol=0.001)", ("f", "f(1)", "2.5")),
    ],
)
def test_the_forms_of_tests(test: str, check: tuple[str, str, str]) -> None:
    got = read_check(test)
    assert got is not None
    assert (got["function"], got["call"], got["expected"]) == check
    assert ("close" in got) == ("isclose" in test)


def test_a_number_beyond_any_float_is_wrong_and_ends_no_training() -> None:
    assert not same_value(10**400, 2.5, {"close": {"rel_tol": 0.001}})


@pytest.mark.parametrize(
    "test", ["f(1) == 2", "assert f(1) < 2", "assert f(1) == g(1)", "assert 1 == 1", "assert ("]
)
def test_other_forms_are_left_out(test: str) -> None:
    assert read_check(test) is None
    assert read_problem({**add_row(3), "test_list": [test]}) is None


def test_problems_of_mbpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKV_ALLOW_CODE", "1")
    monkeypatch.setenv("RLKV_DATASETS", str(write_datasets(tmp_path)))
    task = get_task("mbpp")
    train, test = task.problems(99, seed=0), task.problems(99, seed=0, split="test")
    assert (len(train), len(test)) == (12, 12)
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    for problem in train:
        assert problem.prompt.count("assert") == 1  # the others stay hidden
        assert len(json.loads(problem.answer)["checks"]) == 3
    close = {**add_row(3), "test_list": ["assert math.isclose(add(1), 4.0, rel_tol=0.01)"]}
    about, exact = read_problem(close), read_problem({**close, "test_list": ["assert add(1) == 4"]})
    assert about is not None
    assert exact is not None
    text = "```python\ndef add(x): return x + 3.001\n```"
    assert (task.reward(text, about), task.reward(text, exact)) == (1.0, 0.0)
    built = read_problem({**close, "test_list": ["assert set([add(1)]) == set([4])"]})
    assert built is not None
    assert task.reward("```python\ndef add(x): return x + 3\n```", built) == 1.0


def test_which_block_is_the_program() -> None:
    right = "```python\ndef f():\n    return 1\n```"
    use = "```python\nprint(f())\n```"
    assert program(f"{right}\nUse it so:\n{use}", "f") == "def f():\n    return 1"
    assert program(right + right, "f")
    assert program(right + right.replace("1", "2"), "f") is None
    assert program(right[:-3], "f") is None
    assert program(use, "f") is None
    assert program(f"<think>{right}", "f") is None
