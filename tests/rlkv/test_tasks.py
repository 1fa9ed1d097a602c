"""The registry, the splits, and what every generated task promises."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reasoning_gym.factory import DATASETS

from rlkv.errors import UserError
from rlkv.tasks import TASKS, Problem, get_task
from rlkv.tasks import gym as gym_module
from rlkv.tasks.gym import EVALUATES, SELECTION, UNSTEADY, Gym
from rlkv.tasks.maths_sets import SETS
from rlkv.tasks.recall import Recall
from rlkv.tasks.repeat import Repeat
from rlkv.tasks.splits import TEST_SHARE, draw_problems, split_of
from rlkv.tasks.words import KEYS, VALUES

ROOT = Path(__file__).parent.parent.parent
GENERATED = [name for name in TASKS if name not in (*SETS, "mbpp")]


def test_the_page_lists_what_there_is() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    listed = re.findall(r"^\| `([\w:-]+)` \|", page, re.MULTILINE)
    assert listed == list(TASKS)
    assert [name.removeprefix("gym:") for name in TASKS if "gym:" in name] == [*SELECTION]


def test_naming_tasks_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rlkv.tasks import TASKS, get_task\n"
        "for name in TASKS:\n"
        "    if name != 'mbpp': assert get_task(name).name == name\n"
        "get_task('jsonl:/none')\n"
        "heavy = {'torch', 'sympy', 'reasoning_gym', 'math_verify', 'datasets', 'pyarrow',"
        " 'huggingface_hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("chess", "Choose one of: tracing"),
        ("gsm8", "Did you mean gsm8k"),
        ("gym:", "There is no task"),
        ("gym:chain_sums", "Did you mean gym:chain_sum"),
        ("gym:xyzzy", "has no data set 'xyzzy'"),
        ("gym:countdown", "runs the model's answer as code"),
        ("gym:codeio", "the same seed does not give the same problems"),
        ("jsonl:", "There is no task"),
    ],
)
def test_unknown_names_get_help(name: str, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        get_task(name)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_tasks_are_seeded_and_never_overlap(name: str) -> None:
    task = get_task(name)
    assert task.max_new_tokens > 0
    train, test = task.problems(60, seed=3), task.problems(60, seed=3, split="test")
    assert (len(train), len(test)) == (60, 60)
    assert train == task.problems(60, seed=3)
    assert train[:5] == task.problems(5, seed=3)
    neighbour = task.problems(60, seed=4)
    assert len({p.prompt for p in train} & {p.prompt for p in neighbour}) < 10
    assert {split_of(p.prompt) for p in [*train, *neighbour]} == {"train"}
    assert {split_of(p.prompt) for p in test} == {"test"}
    assert task.problems(0, seed=3) == []


def test_problems_are_the_same_in_every_process() -> None:
    code = (
        "import sys; from rlkv.tasks import get_task\n"
        "print(repr([get_task(name).problems(3, seed=5) for name in sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", code, *GENERATED]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == repr([get_task(name).problems(3, seed=5) for name in GENERATED])


def test_the_held_out_share() -> None:
    splits = [split_of(f"problem {n}") for n in range(4000)]
    assert abs(splits.count("test") / 4000 - TEST_SHARE) < 0.03
    assert split_of("c=7; b=6; e:c-b; k:c-e; ?k") == "train"  # for good: old masks rely on it


def test_a_task_of_one_problem_has_one_split() -> None:
    only = Problem("c=7; b=6; e:c-b; k:c-e; ?k", "")
    assert draw_problems(lambda rng: only, 2, seed=0, split="train") == [only, only]
    with pytest.raises(UserError, match="too few different problems"):
        draw_problems(lambda rng: only, 1, seed=0, split="test")


@pytest.mark.parametrize("name", SELECTION)
def test_the_selection_of_reasoning_gym_has_exact_verifiers(name: str) -> None:
    task = Gym(name)
    problems = task.problems(15, seed=1)
    answers = [json.loads(problem.answer)["answer"] for problem in problems]
    assert all(len(answer) < 400 for answer in answers)
    for problem, answer in zip(problems, answers, strict=True):
        assert answer not in ("", None)
        assert task.reward(f"<answer>{answer}</answer>", problem) == 1.0
        more = "Zoe is a knight" if name == "knights_knaves" else "or 4711"
        assert task.reward(f"<answer>{answer} {more}</answer>", problem) == 0.0
        assert task.reward(f"<answer>4711, {answer}</answer>", problem) == (
            1.0 if name == "knights_knaves" else 0.0  # reads its own sentences only
        )
        assert task.reward(f"<answer>{answer[: len(answer) // 2]}</answer>", problem) == 0.0


def test_partial_points_are_none() -> None:
    task = Gym("spell_backward")
    (problem,) = task.problems(1, seed=0)
    entry = json.loads(problem.answer)
    almost = entry["answer"][:-1] + "#"
    assert 0 < gym_module._verifier("spell_backward").score_answer(almost, entry) < 1
    assert task.reward(f"<answer>{almost}</answer>", problem) == 0.0


def test_other_data_sets_of_reasoning_gym() -> None:
    assert len(get_task("gym:zebra_puzzles").problems(2, seed=0)) == 2
    with pytest.raises(UserError, match="no exact verifier"):
        get_task("gym:propositional_logic").problems(1, seed=0)  # has no answers of its own
    with pytest.raises(UserError, match="can't be used without settings"):
        get_task("gym:composite").problems(1, seed=0)


def test_no_offered_verifier_evaluates_text() -> None:
    """A new version of reasoning-gym may bring another `eval` of what a model wrote."""
    evaluating = re.compile(r"(?<![\w.])eval\(answer|parse_expr\(answer|exec\(answer")
    found = set()
    for name, (kind, _) in DATASETS.items():
        source = sys.modules[kind.__module__].__file__
        assert source
        if evaluating.search(Path(source).read_text()):
            found.add(name)
    assert found == EVALUATES
    assert not (EVALUATES | UNSTEADY) & set(SELECTION)


def test_the_word_lists() -> None:
    words = KEYS + VALUES
    assert len(set(words)) == len(words) == 128
    assert all(re.fullmatch("[a-z]+", word) for word in words)


def test_recall() -> None:
    problems = Recall().problems(200, seed=0)
    assert {p.size for p in problems} == set(range(8, 33))
    for problem in problems:
        pairs = dict(re.findall(r"^(\w+): (\w+)$", problem.prompt, re.MULTILINE))
        asked = re.findall(r"partner of (\w+)\?", problem.prompt)
        assert pairs[asked[0]] == problem.answer
        assert len(pairs) == problem.size


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("tulip", 1.0),
        (" Tulip.\n", 1.0),
        ("The partner of anchor is tulip.", 1.0),
        ("The partner of anchor is **tulip**.", 1.0),
        ("tulips", 0.0),
        ("tulip or otter", 0.0),
        ("otter tulip", 0.0),
        ("It is not tulip", 0.0),
        ("It isn\u2019t tulip", 0.0),
        ("tulip is one of the words", 0.0),
        ("a " * 20 + "tulip", 0.0),
        (" ".join(VALUES), 0.0),
    ],
)
def test_verdicts_on_recall(completion: str, reward: float) -> None:
    assert Recall().reward(completion, Problem("", "tulip")) == reward


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("apple oak owl-free", 0.0),
        ("apple oak tulip", 1.0),
        ("Apple, oak, tulip.", 1.0),
        ("Here are the words: apple oak tulip", 1.0),
        ("1. apple\n2. oak\n3. tulip", 1.0),
        ("apple oak", 0.0),
        ("apple tulip oak", 0.0),
        ("oak apple oak tulip", 0.0),
        ("apple oak tulip tulip", 0.0),
        ("apple oak tulip and so on", 0.0),
        ("word " * 9 + "apple oak tulip", 0.0),
    ],
)
def test_verdicts_on_repeat(completion: str, reward: float) -> None:
    assert Repeat().reward(completion, Problem("", "apple oak tulip")) == reward


def test_repeat() -> None:
    problems = Repeat().problems(200, seed=0)
    assert {p.size for p in problems} == set(range(4, 10))
    for problem in problems:
        assert problem.prompt.endswith("\n\n" + problem.answer)
        assert len(set(problem.answer.split())) == problem.size
