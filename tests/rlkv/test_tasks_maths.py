"""Stated answers, and whether two of them are the same."""

import contextlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from rlkv.tasks import maths
from rlkv.tasks.answers import boxed, final_part, opened_thinking, same_text, stated_answer
from rlkv.tasks.maths import same_maths


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("18", "18"),
        ("<think>a</think>18", "18"),
        ("a</think>18", "18"),  # the template opened it
        ("a</think>b</think>18", "18"),
        ("<think>18", None),
        ("<think>a</think><think>18", None),
        ("a</think>18<think>", None),
    ],
)
def test_the_final_part(text: str, part: str | None) -> None:
    assert final_part(text) == part


def test_a_template_may_open_the_thinking_itself() -> None:
    assert opened_thinking("<|user|>hi<|assistant|><think>\n") == "<think>"
    assert opened_thinking("<|user|>hi<|assistant|>") == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{18}", "18"),
        ("so \\boxed{\\frac{1}{2}} and done", "\\frac{1}{2}"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\fbox{7}", "7"),
        ("\\boxed{18} ... that is, $\\boxed{ 18 }$", "18"),  # said twice
        ("\\boxed{1} \\boxed{18}", None),
        ("\\boxed{18", None),
        ("\\boxed{1} then \\boxed{18", None),
        ("we get 18", None),
        ("#### 18", "18"),
        ("3 + 15 = 18\n#### 18\n", "18"),
        ("#### 1\n#### 18", None),
        ("The final answer is 18.", "18"),
        ("The final answer is: $18$", "18"),
        ("The answer is 18. I am sure.", "18"),
        ("**Final answer:** 18", "18"),
        ("**Answer**: 3.5", "3.5"),
        ("The answer is 1. The answer is 18.", None),
        ("The final answer is $\\boxed{18}$.", "18"),
        ("The answer is\n18", "18"),
        ("The answer is", None),
        ("<answer>a, b</answer>", "a, b"),
        ("<answer>a</answer><answer>b</answer>", None),
        ("<answer>18", None),
        ("The answer is 18. <answer>18", None),
        ("", None),
    ],
)
def test_stated_answers(text: str, answer: str | None) -> None:
    assert stated_answer(text) == answer
    assert stated_answer(f"<think>\\boxed{{5}}</think>{text}") == answer
    assert stated_answer(f"<think>{text}") is None


def test_boxes_in_boxes_count_once() -> None:
    assert boxed("\\boxed{\\boxed{3}}") == ["\\boxed{3}"]


def test_same_text() -> None:
    assert same_text(" **Yes**. ", "yes")
    assert not same_text("yes and no", "yes")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("18", "18"),
        ("18.00", "18"),
        ("1,800", "1800"),
        ("\\$18", "18"),
        ("$18", "18"),
        ("18 eggs a day", "18"),
        ("18 mile-long roads", "18"),
        ("18\\text{ cm}", "18"),
        ("50\\%", "50"),
        ("\\frac{36}{2}", "18"),
        ("x = 18", "18"),
        ("3 + 15 = 18", "18"),
        ("0.5", "\\frac{1}{2}"),
        ("\\dfrac12", "\\frac{1}{2}"),
        ("\\left(3, \\frac{\\pi}{2}\\right)", "(3,\\frac{\\pi}{2})"),
        ("(x+1)^2", "x^2+2x+1"),
        ("Evelyn", "\\text{Evelyn}"),
        ("2, 1", "1, 2"),
        ("\\sqrt{18}", "3\\sqrt{2}"),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("90", "90^\\circ"),
        ("-5", "-5"),
        ("\u221218", "-18"),
        ("negative 18", "-18"),
        ("-$18", "-18"),
        ("18 cm²", "18"),
        ("1.8e1", "18"),
        ("0.00001", "1e-05"),
        ("100000000000000000000", "1e+20"),
        ("18 dollars", "18"),
        ("$18.00", "18"),
        ("18%", "18"),
        ("18 percent", "18"),
        ("18 dozen", "18"),  # asked for in dozens: a unit like any other
        ("18 quarters", "18"),
        ("18 feet squared", "18"),
        ("18 to the nearest tenth", "18"),
        ("the area of the square is 18", "18"),
        ("18 more than before", "18"),
        ("18 K", "18"),
        ("18 million", "18000000"),
        ("$1.5 million dollars", "1,500,000"),
        ("18k", "18000"),
        ("18 hundredths", "0.18"),
    ],
)
def test_the_same_however_written(given: str, right: str) -> None:
    assert same_maths(given, right)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("", "18"),
        ("17", "18"),
        ("-18", "18"),
        ("- 5", "5"),
        ("18.5", "18"),
        ("0.333", "\\frac{1}{3}"),
        ("18!", "18"),
        ("1, 2, 18", "18"),
        ("1 2 18", "18"),
        ("18-19", "18"),
        ("{1, 18}", "18"),
        ("18 or 19", "18"),
        ("18 \\text{ or } 19", "18"),
        ("18 \\pm 0", "18"),
        ("18\\cup 19", "18"),
        ("18 \\approx 18.1", "18"),
        ("18; 19", "18"),
        ("1 = 18", "18"),
        ("18 = 1", "18"),
        ("x = x", "18"),
        ("x \\in \\mathbb{R}", "18"),
        ("[0, 100]", "18"),
        ("\\infty", "18"),
        ("\\frac{0}{0}", "18"),
        ("nan", "18"),
        ("q-p", "p-q"),
        ("[1,2]", "[1,2)"),
        ("\\text{Bob}", "\\text{Evelyn}"),
        ("anything", "\\text{Evelyn}"),
        ("\u221218", "18"),
        ("\u201318", "18"),
        ("minus 18", "18"),
        ("not 18", "18"),
        ("definitely isn\u2019t 18", "18"),
        ("√18", "18"),
        ("≥ 18", "18"),
        ("18π", "18"),
        ("18x", "18"),
        ("18²", "18"),
        ("x = 18½", "18"),
        ("2e", "2"),
        ("1e999999999", "18"),
        ("18 million", "18"),
        ("18 thousand dollars", "18"),
        ("18k", "18"),
        ("18 hundredths", "18"),
        ("double 18", "18"),
        ("twice $18", "18"),
        ("half of 18", "18"),
        ("more than 18", "18"),
        ("the square root of 18", "18"),
        ("18 squared", "18"),
        ("18 to the power of two", "18"),
        ("18 and a half", "18"),
        ("18 or nineteen", "18"),
    ],
)
def test_not_the_same(given: str, right: str) -> None:
    assert not same_maths(given, right)


@pytest.mark.parametrize(
    "given",
    [
        "9^{9^{9^{9}}}",
        "9**9**9**9",
        pytest.param("99999999!", marks=pytest.mark.slow),
        "{" * 5000,
        "(" * 300 + "18" + ")" * 300,
        "\\sqrt{" * 300,
        "\\sum_{k=1}^{10^{12}} k",
        pytest.param("\\int_0^1 x^{x^{x^{x}}} dx", marks=pytest.mark.slow),
        "x" * 600,
        "+".join(f"x^{{{n}}}" for n in range(90)),
        "__import__('os').abort()",
        "\x00",
    ],
)
def test_hostile_expressions_end_soon_and_earn_nothing(given: str) -> None:
    start = time.monotonic()
    assert not same_maths(given, "18")
    assert time.monotonic() - start < maths.SECONDS + 15  # the process may have to start anew
    assert same_maths("\\frac{36}{2}", "18")  # and the next one is served


def test_many_threads_share_one_process() -> None:
    assert same_maths("\\frac{36}{2}", "18")

    def ask(number: int) -> bool:
        return same_maths(f"\\frac{{{number}}}{{2}}", f"\\frac{{{2 * number}}}{{4}}")

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(1, 40)))
    assert threading.current_thread() is threading.main_thread()
    assert len([child for child in psutil.Process().children() if compares_maths(child)]) == 1


def compares_maths(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.ZombieProcess):  # what another test of this process left behind
        return any("maths_process" in word for word in process.cmdline())
    return False


def test_nothing_is_left_when_python_ends() -> None:
    code = (
        "import psutil; from rlkv.tasks.maths import same_maths\n"
        "assert same_maths('\\\\frac{36}{2}', '18')\n"
        "print(psutil.Process().children()[0].pid)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout))
