"""Every task against right, wrong, truncated and adversarial completions: one matrix."""

from pathlib import Path

import pytest

from rlkv.tasks import Problem
from tests.rlkv.task_stage import NAMES, Case, make_case, write_datasets

THINKING = "<think>First this, then that.</think>"


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("RLKV_DATASETS", str(write_datasets(tmp_path)))
    monkeypatch.setenv("RLKV_ALLOW_CODE", "1")
    return make_case(request.param, tmp_path)


every_task = pytest.mark.parametrize("case", NAMES, indirect=True)


@every_task
def test_right_answers_earn_one(case: Case) -> None:
    assert case.task.reward(THINKING + case.right(), case.problem) == 1.0
    assert case.task.reward(f"{THINKING}\n\n{case.right()}\n", case.problem) == 1.0
    bare = Problem("", case.problem.answer)  # as the trainer asks
    assert case.task.reward(THINKING + case.right(), bare) == 1.0


@every_task
def test_models_that_do_not_think_aloud_earn_too(case: Case) -> None:
    earned = case.task.reward(case.right(), case.problem)
    assert earned == (0.0 if case.name == "tracing" else 1.0)  # tracing is nothing but thinking


@every_task
def test_wrong_answers_earn_nothing(case: Case) -> None:
    assert case.task.reward(THINKING + case.wrong(), case.problem) == 0.0
    assert case.task.reward(THINKING, case.problem) == 0.0
    assert case.task.reward(THINKING + "I do not know.", case.problem) == 0.0
    assert case.task.reward("", case.problem) == 0.0


@every_task
def test_unfinished_thinking_earns_nothing(case: Case) -> None:
    assert case.task.reward(f"<think>So {case.right()}", case.problem) == 0.0
    assert case.task.reward(f"<think>\n{case.right()}\n", case.problem) == 0.0
    again = f"{THINKING}<think>{case.right()}"
    assert case.task.reward(again, case.problem) == 0.0
    inside = f"<think>{case.right()}</think>"
    assert case.task.reward(inside, case.problem) == 0.0
    assert case.task.reward(f"<think>{case.right()}</think>{case.wrong()}", case.problem) == 0.0


@every_task
def test_an_answer_cut_off_in_the_middle_earns_nothing(case: Case) -> None:
    right = case.right()
    end = {"recall": 3, "repeat": 2, "tracing": 1, "mbpp": 3}.get(
        case.name, len(right) - right.rindex("}") if "boxed" in right else 3
    )
    assert case.task.reward(THINKING + right[:-end], case.problem) == 0.0


@every_task
def test_a_list_of_guesses_earns_nothing(case: Case) -> None:
    assert case.task.reward(THINKING + case.spray(), case.problem) == 0.0
    everything = " ".join(f"\\boxed{{{n}}}" for n in range(-50, 2000))
    assert case.task.reward(THINKING + everything, case.problem) == 0.0


@every_task
def test_tricks_earn_nothing(case: Case) -> None:
    for trick in (
        case.problem.prompt,
        "</think>" * 50,
        "\\boxed{" * 3000,
        "\\boxed{}",
        "<answer></answer>",
        "<answer>" * 1000,
        "#### ",
        "The answer is",
        "\x00\ud800",
        "\\boxed{__import__('os').abort()}",
        "<answer>__import__('os').abort()</answer>",
        "\\boxed{True}",
        "```python\n```",
        "(" * 100_000,
        f"\\boxed{{{'9' * 100_000}}}",
    ):
        assert case.task.reward(THINKING + trick, case.problem) == 0.0
