"""Data sets from a folder, from the Hub (a stand-in of it), and from a user's file."""

import json
import os
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from rlkv.errors import UserError
from rlkv.tasks import get_task
from rlkv.tasks.jsonl import read_problems
from tests.rlkv.hub_client import python
from tests.rlkv.hub_stand_in import hub
from tests.rlkv.task_stage import write_datasets, write_rows

REAL = Path(os.environ.get("RLKV_DATASETS", "none"))

LOAD = """
import json, sys
from rlkv.errors import UserError
from rlkv.tasks import get_task
try:
    task = get_task(sys.argv[1])
    print(json.dumps([[p.prompt, p.answer] for p in task.problems(99, seed=0, split=sys.argv[2])]))
except UserError as error:
    print(error)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLKV_DATASETS", str(write_datasets(tmp_path / "sets")))
    monkeypatch.setenv("RLKV_ALLOW_CODE", "1")
    return tmp_path / "sets"


def test_gsm8k_keeps_its_own_splits(folder: Path) -> None:
    task = get_task("gsm8k")
    train, test = task.problems(99, seed=0), task.problems(99, seed=0, split="test")
    assert (len(train), len(test)) == (12, 12)  # all there are
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    assert {p.answer for p in train} == {str(n + 2) for n in range(12)}
    assert all("\\boxed{}" in p.prompt and "shells" in p.prompt for p in train)
    assert task.problems(3, seed=0) == train[:3] == task.problems(3, seed=0)
    assert task.problems(3, seed=1) != train[:3]


def test_a_file_saved_on_windows_is_read(folder: Path) -> None:
    path = folder / "gsm8k" / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(get_task("gsm8k").problems(99, seed=0)) == 12


def test_a_test_problem_in_the_training_file_is_left_out(folder: Path) -> None:
    path = folder / "gsm8k" / "train.jsonl"
    path.write_text(path.read_text() + (folder / "gsm8k" / "test.jsonl").read_text())
    task = get_task("gsm8k")
    assert len(task.problems(99, seed=0)) == 12


@pytest.mark.parametrize("name", ["math-500", "aime24"])
def test_test_sets_are_not_for_training(name: str, folder: Path) -> None:
    task = get_task(name)
    assert len(task.problems(500, seed=0, split="test")) == 30
    with pytest.raises(UserError, match="not for training: train on another task"):
        task.problems(1, seed=0)


def test_one_set_is_divided_for_good(folder: Path) -> None:
    task = get_task("deepscaler")
    train = {p.prompt for p in task.problems(99, seed=0, split="train")}
    test = {p.prompt for p in task.problems(99, seed=1, split="test")}
    assert train
    assert test
    assert not train & test
    assert len(train | test) == 30


def test_rows_of_another_form_are_said(folder: Path) -> None:
    write_rows(folder / "gsm8k" / "train.jsonl", [{"query": "?"}])
    with pytest.raises(UserError, match="no field 'answer'"):
        get_task("gsm8k").problems(1, seed=0)
    (folder / "gsm8k" / "train.jsonl").write_text('{"question": "a", "answer": "1"}\n{"quest')
    with pytest.raises(UserError, match=r"train\.jsonl, line 2 is no JSON"):
        get_task("gsm8k").problems(1, seed=0)
    (folder / "gsm8k" / "train.jsonl").write_text("[1]\n")
    with pytest.raises(UserError, match="must hold JSON objects"):
        get_task("gsm8k").problems(1, seed=0)


@pytest.mark.skipif(not (REAL / "gsm8k").is_dir(), reason="needs GSM8K in RLKV_DATASETS")
def test_the_real_gsm8k(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLKV_DATASETS", str(REAL))
    task = get_task("gsm8k")
    train = task.problems(10_000, seed=0)
    test = task.problems(10_000, seed=0, split="test")
    assert (len(train), len(test)) == (7473, 1319)
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    for problem in train + test:
        assert task.reward(f"So it is \\boxed{{{problem.answer}}}.", problem) == 1.0


def test_without_network_and_folder_both_ways_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RLKV_DATASETS", raising=False)
    monkeypatch.setenv("RLKV_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        get_task("gsm8k").problems(1, seed=0)
    for part in ("openai/gsm8k", "work offline", "gsm8k/train.jsonl", "set RLKV_DATASETS"):
        assert part in str(error.value)
    monkeypatch.setenv("RLKV_DATASETS", str(tmp_path))
    with pytest.raises(UserError, match="which has no such file"):
        get_task("gsm8k").problems(1, seed=0)


def from_hub(endpoint: str, tmp_path: Path, *arguments: str, offline: str = "0") -> str:
    """Loads from the Hub, or its cache, whatever folder of data sets the tests were given."""
    return python(LOAD, endpoint, tmp_path, *arguments, offline=offline)


@pytest.mark.slow
def test_a_data_set_comes_from_the_hub_and_then_from_its_cache(tmp_path: Path) -> None:
    table = pyarrow.table({"question": ["1+1?", "2+2?"], "answer": ["#### 2", "easy\n#### 4"]})
    for split in ("train", "test"):
        parquet.write_table(table.slice(split == "test", 1), tmp_path / f"{split}.parquet")
    with hub() as (endpoint, stand_in):
        stand_in.repos["openai/gsm8k"] = {
            "README.md": b"# GSM8K",
            "socratic/train-00000-of-00001.parquet": b"not this one",
        } | {
            f"main/{split}-00000-of-00001.parquet": (tmp_path / f"{split}.parquet").read_bytes()
            for split in ("train", "test")
        }
        got = json.loads(from_hub(endpoint, tmp_path, "gsm8k", "train"))
    assert [answer for _, answer in got] == ["2"]
    again = from_hub("http://127.0.0.1:9", tmp_path, "gsm8k", "train", offline="1")
    assert json.loads(again) == got


def test_json_lists_and_lines_come_from_the_hub_too(tmp_path: Path) -> None:
    rows = [{"problem": f"{n}+1?", "answer": str(n + 1), "solution": ""} for n in range(40)]
    with hub() as (endpoint, stand_in):
        stand_in.repos["agentica-org/DeepScaleR-Preview-Dataset"] = {
            "deepscaler.json": json.dumps(rows).encode()
        }
        stand_in.repos["HuggingFaceH4/MATH-500"] = {
            "test.jsonl": "\n".join(json.dumps(row) for row in rows).encode()
        }
        train, test = (
            json.loads(from_hub(endpoint, tmp_path, "deepscaler", split))
            for split in ("train", "test")
        )
        assert len(train) + len(test) == 40
        assert len(json.loads(from_hub(endpoint, tmp_path, "math-500", "test"))) == 40
        assert "can't be fetched from the Hub" in from_hub(endpoint, tmp_path, "aime24", "test")
        stand_in.breaks = "main/train-00000-of-00001.parquet"
        stand_in.repos["openai/gsm8k"] = {stand_in.breaks: bytes(100_000)}
        assert "can't be fetched from the Hub" in from_hub(endpoint, tmp_path, "gsm8k", "train")


def own(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_ones_own_file(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        '{"prompt": "Half of one?", "answer": 0.5}',
        "",
        '{"prompt": "Half of one?", "answer": 0.5}',
        '{"prompt": "Capital of France?", "answer": "Paris", "verify": "text"}',
    )
    half, capital = read_problems(path)
    task = get_task(f"jsonl:{path}")
    assert half.prompt == "Half of one?"
    assert task.reward("\\boxed{\\frac{1}{2}}", half) == 1.0
    assert task.reward("\\boxed{paris}", capital) == 1.0
    assert task.reward("\\boxed{Paris, Texas}", capital) == 0.0
    assert task.reward("\\boxed{\\frac{1}{2}}", capital) == 0.0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt": "a"', "line 2 is no JSON"),
        ("[]", "line 2 must be an object"),
        ("[" * 100_000, "line 2"),
        ('{"prompt": "a"}', "line 2: 'answer' must be a text or a number"),
        ('{"prompt": "", "answer": 1}', "line 2: 'prompt' must be a text"),
        ('{"prompt": 3, "answer": 1}', "line 2: 'prompt' must be a text"),
        ('{"prompt": "a", "answer": true}', "line 2: 'answer' must be"),
        ('{"prompt": "a", "answer": " "}', "line 2: 'answer' must have 1 to"),
        ('{"prompt": "a", "answer": 1, "id": 3}', "line 2: 'id' is none of"),
        ('{"prompt": "a", "answer": 1, "verify": "code"}', "line 2: 'verify' must be one of"),
        ('{"prompt": "a", "answer": NaN}', "line 2: 'answer' must be"),
        ('{"prompt": "a", "answer": -Infinity}', "line 2: 'answer' must be"),
        (r'{"prompt": "a \ud800", "answer": 1}', "line 2: half of a character"),
        (r'{"prompt": "a", "answer": "\udfff"}', "line 2: half of a character"),
        ('{"prompt": "first", "answer": 2}', "line 2: this prompt came before"),
        (json.dumps({"prompt": "a" * 100_001, "answer": 1}), "line 2: 'prompt' must be"),
        (json.dumps({"prompt": "a", "answer": "1" * 601}), "line 2: 'answer' must have"),
    ],
)
def test_wrong_lines_are_named(line: str, says: str, tmp_path: Path) -> None:
    path = own(tmp_path, '{"prompt": "first", "answer": 1}', line)
    with pytest.raises(UserError, match=says):
        get_task(f"jsonl:{path}").problems(1, seed=0)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        get_task(f"jsonl:{tmp_path}/none.jsonl").problems(1, seed=0)
    (tmp_path / "own.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        get_task(f"jsonl:{tmp_path}/own.jsonl").problems(1, seed=0)
    path = own(tmp_path, "")
    with pytest.raises(UserError, match="0 different problems"):
        get_task(f"jsonl:{path}").problems(1, seed=0)
    with path.open("wb") as file:
        file.truncate(100 * 10**6 + 1)
    with pytest.raises(UserError, match="larger than 100 MB"):
        get_task(f"jsonl:{path}").problems(1, seed=0)
