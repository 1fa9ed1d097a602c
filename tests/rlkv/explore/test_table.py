"""The table of all heads: rows, CSV, record, and the command that prints it."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlkv.cli import main
from rlkv.errors import UserError
from rlkv.explore.measures import MEASURES
from rlkv.explore.probes import probe_texts
from rlkv.explore.rankings import RANKINGS, Probe
from rlkv.explore.stopping import Stopped
from rlkv.explore.table import HeadTable, head_table
from rlkv.masks import HeadMask
from tests.rlkv.explore.conftest import WINDOW

ROOT = Path(__file__).parent.parent.parent.parent
MASK = ROOT / "examples" / "masks" / "tracer"


@pytest.fixture(scope="module")
def table(tracer: tuple[Any, Any]) -> HeadTable:
    said: list[str] = []
    made = head_table(*tracer, "tracing", WINDOW, n=3, seed=2, say=said.append)
    assert said[0] == "Answering tracing"
    assert set(said) > {ranking.title for ranking in RANKINGS.values()}
    return made


def test_it_holds_what_the_rankings_say(tracer: tuple[Any, Any], table: HeadTable) -> None:
    probe = Probe(*tracer, probe_texts(*tracer, "tracing", 3, seed=2), WINDOW, seed=2)
    assert list(table.measures) == list(MEASURES)
    for key, ranking in RANKINGS.items():
        np.testing.assert_array_equal(table.measures[key], ranking.scores(probe))
    parts = sum(table.measures[key] for key in ("sink", "recent", "far"))
    np.testing.assert_allclose(parts, 1.0, atol=1e-5)
    np.testing.assert_allclose(table.by_distance.sum(-1), 1.0, atol=1e-5)
    assert table.by_distance.shape == (4, 8, len(table.edges) - 1)
    assert (table.model, table.task, table.n, table.right) == ("tracer", "tracing", 3, True)
    assert table.note == ""


def test_rows_have_every_head_with_ranks_from_one(table: HeadTable) -> None:
    mask = HeadMask.load(MASK)
    rows = table.to_rows(mask)
    assert [(row["layer"], row["head"]) for row in rows] == list(np.ndindex(4, 8))
    for key, values in table.measures.items():
        assert [row[key] for row in rows] == values.ravel().tolist()
        ranks = [row[f"{key}_rank"] for row in rows]
        assert sorted(ranks) == list(range(1, 33))  # type: ignore[type-var]
        assert ranks[int(values.argmax())] == 1
    assert [row["kept"] for row in rows] == mask.kept.ravel().tolist()
    assert [row["gate_rank"] for row in rows] == (mask.ranks().ravel() + 1).tolist()
    # The scores of this mask are its elimination's; its gates stand in its notes.
    assert rows[0]["gate"] == pytest.approx(mask.info["gates"][0][0], abs=1e-6)
    assert json.loads(json.dumps(rows)) == rows


def test_notes_that_are_no_gates_are_passed_over(table: HeadTable) -> None:
    for gates in (None, [[1.0]], "x", [["a"] * 8] * 4, [[float("nan")] * 8] * 4):
        mask = HeadMask.random(4, 8, sparsity=0.5, seed=1, info={"gates": gates})
        assert [r["gate"] for r in table.to_rows(mask)] == mask.scores.ravel().tolist()


def test_without_a_mask_its_columns_are_empty(table: HeadTable, tmp_path: Path) -> None:
    row = table.to_rows()[0]
    assert (row["gate"], row["gate_rank"], row["kept"]) == (None, None, None)
    path = table.write_csv(tmp_path / "heads.csv")
    assert path.read_text().splitlines()[1].startswith("0,0,,,,0.")


def test_csv_reads_back_as_the_rows(table: HeadTable, tmp_path: Path) -> None:
    mask = HeadMask.load(MASK)
    path = table.write_csv(tmp_path / "heads.csv", mask)
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    for row, expected in zip(read, table.to_rows(mask), strict=True):
        assert list(row) == list(expected)
        for key, value in expected.items():
            assert float(row[key]) == pytest.approx(float(value), rel=1e-5)  # type: ignore[arg-type]


def test_a_record_goes_through_json_without_loss(table: HeadTable) -> None:
    text = json.dumps(table.to_record())
    back = HeadTable.from_record(json.loads(text))
    assert back.to_record() == table.to_record()
    assert back.to_rows() == table.to_rows()
    assert back.similar(1, 3) == table.similar(1, 3)
    assert back.edges == table.edges
    np.testing.assert_array_equal(back.by_distance, table.by_distance)
    assert len(text) < 12_000


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"shape": [4, 7]},
        {"shape": 3},
        {"measures": {}},
        {"likeness": "no base64!"},
        {"edges": [0, 1]},
    ],
)
def test_other_records_are_refused(table: HeadTable, change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="measure it again"):
        HeadTable.from_record({**table.to_record(), **change})


def test_a_mask_of_another_shape_is_refused(table: HeadTable) -> None:
    with pytest.raises(UserError, match="3 layers x 8 KV heads but tracer has 4 x 8"):
        table.to_rows(HeadMask.full(3, 8))


def test_similar_heads_are_those_of_the_likeness(table: HeadTable) -> None:
    best = table.similar(2, 2, top=1)[0]
    others = table.likeness[2, 2].copy()
    others[2, 2] = 0
    assert best.likeness == others.max() == others[best.layer, best.head]


@pytest.mark.parametrize("key", list(MEASURES))
def test_a_measure_becomes_a_mask_of_its_best_heads(table: HeadTable, key: str) -> None:
    mask, values = table.to_mask(key, sparsity=0.5), table.measures[key]
    assert mask.n_kept == 16
    assert values[mask.kept].min() >= values[~mask.kept].max()
    assert (mask.sink, mask.recent, mask.model) == (4, 16, "tracer")
    assert mask.info["ranking"] == key
    assert table.to_mask(key, sparsity=0.0).n_kept == 32
    with pytest.raises(UserError, match="no ranking 'beauty': choose one of far"):
        table.to_mask("beauty")


def test_wrong_answers_are_told(table: HeadTable) -> None:
    record = {**table.to_record(), "right": False}
    assert "none of the problems right" in HeadTable.from_record(record).note


def test_measuring_can_be_stopped(tracer: tuple[Any, Any]) -> None:
    asked = iter([False] * 5 + [True])
    with pytest.raises(Stopped):
        head_table(*tracer, "tracing", WINDOW, n=3, stop=lambda: next(asked))


def test_a_table_is_read_without_torch() -> None:
    code = "import sys, rlkv.explore.table; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_command_sorts_prints_and_writes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "heads.csv"
    command = f"heads --mask {MASK} --n 2 --sort retrieval --top 5 --csv {out}"
    record = tmp_path / "heads.json"
    command += f" --record {record} --mask-out {tmp_path / 'mask'} --sparsity 0.25"
    assert main(command.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[[line.startswith("head ") for line in lines].index(True) + 1 :]
    assert len(table) == 8  # and where the three files are
    assert str(out) in table[5]
    assert len(out.read_text().splitlines()) == 33
    assert HeadTable.from_record(json.loads(record.read_text())).n == 2
    made = HeadMask.load(tmp_path / "mask")
    assert made.n_kept == 24
    assert made.with_budget(bytes=200_000, length=100).n_kept < 24
    assert main([*command.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["task"], found["n"], found["sink"], found["recent"]) == ("tracing", 2, 4, 16)
    values = [row["retrieval"] for row in found["heads"]]
    assert len(values) == 32
    assert values == sorted(values, reverse=True)
    assert table[0].startswith(f"{found['heads'][0]['layer']}.{found['heads'][0]['head']} ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--sort gate", "add --mask"),
        ("--sort layer --mask-out x", "choose another --sort"),
        ("--n 0", "--n must be at least 1"),
        ("--n 1 --task nothing", "There is no task 'nothing'"),
        (f"--model random:llama-135m --mask {MASK}", "random:llama-135m has 30 x 3"),
        (f"--mask {MASK} --n 1 --csv /nowhere/at/all.csv", "can't be written: No such file"),
        (f"--mask {MASK} --n 1 --record /nowhere/heads.json", "can't be written: No such file"),
    ],
)
def test_mistakes_on_the_command_line(
    capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    assert main(["heads", *options.split()]) == 2
    assert message in capsys.readouterr().err
