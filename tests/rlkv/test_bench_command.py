"""The command `bench`: what it measures, tells and writes."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from rlkv.benchmark import measuring
from rlkv.benchmark.charts import COLOURS
from rlkv.benchmark.rows import Row
from rlkv.cli import main
from rlkv.masks import HeadMask
from tests.rlkv.bench_stage import ROOT, run


@pytest.mark.slow
def test_one_value_each_gives_a_row_per_context(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(
        capsys, "--contexts", "100,700", "--sparsity", "0.5", "--new-tokens", "5", "--batch", "2"
    )
    short, long = result["rows"]
    assert (short["context"], long["context"]) == (100, 700)
    for row in (short, long):
        assert row["kv_bytes_formula"] <= row["kv_bytes"] <= 1.1 * row["kv_bytes_formula"]
        assert row["kv_bytes"] < row["kv_bytes_full"]
        assert row["kv_bytes_stock"] == 2 * 2 * 32 * 16 * 4 * (row["context"] + 5)
        assert all(value > 0 for name, value in row.items() if "per_s" in name)
        assert (row["batch"], row["new_tokens"], row["dtype"]) == (2, 5, "float32")
    # The random mask's window is the published 16 + 64.
    assert (result["sink"], result["recent"]) == (16, 64)
    assert (result["model"], result["device"], result["dtype"]) == ("tracer", "cpu", "float32")


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> tuple[dict[str, Any], str, str]:
    """A run over two values of everything: its JSON, its page, what it said."""
    out = tmp_path / "deep" / "out"
    grid = "--contexts 40,100 --sparsity 0.25,0.5 --batch 1,2 --dtype float32,bfloat16"
    arguments = ["bench", "--model", "tracer", *grid.split(), "--new-tokens", "2"]
    assert main([*arguments, "--device", "cpu", "--out", str(out)]) == 0
    result = json.loads((out / "bench.json").read_text())
    return result, (out / "bench.html").read_text(), capsys.readouterr().out


@pytest.mark.slow
def test_every_combination_is_measured_told_and_written(
    written: tuple[dict[str, Any], str, str],
) -> None:
    result, page, said = written
    rows = result["rows"]
    names = ("dtype", "batch", "context", "sparsity")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (dtype, batch, context, sparsity)
        for dtype in ("float32", "bfloat16")
        for batch in (1, 2)
        for context in (40, 100)
        for sparsity in (0.25, 0.5)
    ]
    half, whole = rows[8], rows[0]
    assert half["kv_bytes_stock"] * 2 == whole["kv_bytes_stock"]
    assert "context 100, batch 1, sparsity 0.25, float32 (3 of 16)\n" in said
    for title in ("KV cache, MB", "Peak memory, MB", "Decode tok/s", "Prefill tok/s", "Attention"):
        assert f"**{title}" in said
    table = said.split("**KV cache, MB**")[1].split("**")[0]
    assert len([line for line in table.splitlines() if line.startswith("|")]) == 2 + 16
    assert result["command"].startswith("python -m rlkv bench --model tracer --sparsity 0.25,0.5")
    assert result["machine"]["cores"] == torch.get_num_threads()
    assert result["machine"]["torch"] == torch.__version__
    assert all(result["machine"][name] for name in ("cpu", "device", "transformers", "date"))
    assert result["dtype"] == "float32,bfloat16"
    check_page(page, settings=8)


def check_page(text: str, settings: int) -> None:
    """Charts, a choice of settings, and nothing that another machine would have to answer."""
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Tags().feed(text)
    assert not [tag for tag, attributes in tags if {"src", "href"} & set(attributes)]
    assert len([tag for tag, _ in tags if tag == "option"]) == settings
    drawn = {attributes.get("id") for _, attributes in tags}
    assert {"chart-kv", "chart-decode", "chart-prefill", "chart-attention"} <= drawn
    assert text.count("Plotly.newPlot(") >= 4
    assert "plotly.js v" in text  # the library itself
    assert text.count(COLOURS["full"]) > 4
    theme = (ROOT / "ui" / "theme.py").read_text()
    assert f'FULL = "{COLOURS["full"]}"' in theme
    assert f'COMPRESSED = "{COLOURS["split"]}"' in theme


def test_a_mask_is_cut_at_each_sparsity_or_left_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=2, recent=6).toggle(0, 0)
    folder = str(mask.save(tmp_path / "mask"))
    few = ("--contexts", "20", "--new-tokens", "1", "--others", "none", "--mask", folder)
    own = run(capsys, *few)
    assert [row["sparsity"] for row in own["rows"]] == [mask.sparsity]
    assert (own["sink"], own["recent"]) == (2, 6)
    cut = run(capsys, *few, "--sparsity", "0.25,1")
    assert [row["sparsity"] for row in cut["rows"]] == [0.25, 1.0]
    other = str(HeadMask.full(3, 3).save(tmp_path / "other"))
    assert main(["bench", "--model", "tracer", "--mask", other]) == 2
    assert "3 layers x 3 KV heads but tracer has 4 x 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted; 2 of 3 rows were measured"),
        (MemoryError(), 2, "does not fit into the memory"),
        (RuntimeError("CUDA error: out of memory"), 2, "does not fit into the memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), 2, "2 of 3 rows"),
    ],
)
def test_rows_measured_before_the_end_are_kept(
    error: BaseException,
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = measuring.Measuring.row

    def row(self: Any, mask: Any, context: int, *args: Any) -> Row:
        if context == 30:
            raise error
        return measured(self, mask, context, *args)

    monkeypatch.setattr(measuring.Measuring, "row", row)
    options = ("--new-tokens", "1", "--others", "none", "--out", str(tmp_path))
    assert main(["bench", "--model", "tracer", "--contexts", "10,20,30", *options]) == code
    said = capsys.readouterr()
    assert says in said.err
    assert "|      20 |" in said.out
    result = json.loads((tmp_path / "bench.json").read_text())
    assert [each["context"] for each in result["rows"]] == [10, 20]
    assert says in result["stopped"]
    assert "Plotly.newPlot(" in (tmp_path / "bench.html").read_text()
    # Without any row there is nothing to keep.
    assert main(["bench", "--model", "tracer", "--contexts", "30", *options]) == code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--contexts 2000", "at most 1024"),
        ("--contexts 1000 --new-tokens 25", "at most 1024"),
        ("--contexts 0", "at least 1"),
        ("--batch 0", "at least 1"),
        ("--new-tokens 0", "at least 1"),
        ("--contexts many", "whole numbers"),
        ("--contexts 64,", "whole numbers"),
        ("--batch 1,few", "--batch takes whole numbers"),
        ("--sparsity 0.5,half", "numbers from 0 to 1"),
        ("--sparsity 1.5", "from 0 to 1"),
        ("--sparsity nan", "from 0 to 1"),
        ("--dtype float8", "no number format 'float8'"),
        ("--device toaster", "no device 'toaster'"),
        ("--device cuda:99", "no device 'cuda:99'"),
        ("--mask nowhere", "no mask at 'nowhere'"),
        ("--out {file}", "can't be a folder"),
        ("--out {file}/below", "can't be a folder"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    words = arguments.format(file=tmp_path / "file").split()
    assert main(["bench", "--model", "tracer", *words]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    assert says in line
