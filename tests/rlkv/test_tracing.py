import random

import pytest

from rlkv.errors import UserError
from rlkv.tasks import Problem, get_task
from rlkv.tasks.tracing import Tracing, draw, solve


def test_the_worked_example() -> None:
    chain, answer = solve("c=7; b=6; e:c-b; k:c-e; ?k")
    assert chain == "e:c-b; c=7 b=6; 7-6=1; e=1; k:c-e; c=7 e=1; 7-1=6; k=6;"
    assert answer == "k=6"


def test_results_wrap_around_ten() -> None:
    assert solve("a=9; b=4; c:a+b; ?c")[1] == "c=3"
    assert solve("a=1; b=4; c:a-b; ?c")[1] == "c=7"


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a=1; b=2; c:a*b; ?c", "neither a value"),
        ("a=1; c:a+b; ?c", "before it is defined"),
        ("a=1; b=2", "must end with a question"),
        ("a=1; ?b", "never defined"),
        ("z=1; ?z", "neither a value"),
        ("", "must end with a question"),
    ],
)
def test_what_is_no_problem_is_said(prompt: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        solve(prompt)


def test_problems_are_seeded_and_sized() -> None:
    task = Tracing()
    problems = task.problems(50, seed=3)
    assert problems == task.problems(50, seed=3)
    assert problems != task.problems(50, seed=4)
    assert {p.size for p in problems} == {5, 6, 7, 8}
    for problem in problems:
        assert solve(problem.prompt)[1] == problem.answer


def test_operands_are_two_different_earlier_names() -> None:
    for seed in range(50):
        problem = draw(random.Random(seed), 8)
        *statements, _ = problem.prompt.split("; ")
        for i, statement in enumerate(statements[3:], start=3):
            earlier = [s[0] for s in statements[:i]]
            assert statement[2] in earlier
            assert statement[4] in earlier
            assert statement[2] != statement[4]


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("e:c-b; ...; k=6; </think>k=6", 1.0),
        ("</think>6", 1.0),
        ("</think> k=6 ", 1.0),
        ("k=6; </think>k=5", 0.0),  # right in the thinking, wrong in the answer
        ("e:c-b; k=6;", 0.0),  # unfinished thinking
        ("k=6", 0.0),
        ("", 0.0),
        ("</think>", 0.0),
        ("</think>k=1 k=2 k=3 k=6", 0.0),  # a list of guesses
        ("</think>k=5</think>k=6", 0.0),  # closed twice
        ("</think>b=6", 0.0),  # another name
    ],
)
def test_verdicts(completion: str, reward: float) -> None:
    problem = Problem("c=7; b=6; e:c-b; k:c-e; ?k", "k=6")
    assert Tracing().reward(completion, problem) == reward


def test_unknown_task() -> None:
    with pytest.raises(UserError, match="Choose one of: tracing"):
        get_task("chess")
