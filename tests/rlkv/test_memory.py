"""The plan of memory against peaks measured in processes of their own."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rlkv.cgroups import UNLIMITED, room_in_cgroups
from rlkv.errors import UserError
from rlkv.training import memory
from rlkv.training.config import make_config
from rlkv.training.rows import Rows, rows_in

TRACER = {"model": "tracer", "device": "cpu"}
MEASURE = """
import json, random, sys, tempfile
from dataclasses import asdict
from pathlib import Path
from psutil import Process
import torch
from rlkv.benchmark.memory import peak_growth
from rlkv.tasks import get_task
from rlkv.training import run
from rlkv.training.config import make_config
from rlkv.training.self_distillation import Solution
from tests.rlkv.short_training import Log

class Short(Log):
    def should_stop(self):  # one look at all texts is the worst of elimination
        return self.phases.get("elimination", (0, 0))[0] > 0

config = make_config(json.loads(sys.argv[1]))
folder = Path(tempfile.mkdtemp())
# Random weights solve nothing: the pool is given, with the longest answers that can be.
ids = tuple(random.Random(0).choices(range(100), k=config.max_new_tokens))
problems = get_task("tracing").problems(max(config.prompts_per_step, 96), seed=0)
pool = [asdict(Solution(problem, ids, True)) for problem in problems]
(folder / "pool.json").write_text(json.dumps(pool))
before = Process().memory_info().rss
print(before + peak_growth(torch.device("cpu"), lambda: run.train(config, folder, Short())))
"""


def measured_peak(values: dict[str, Any]) -> int:
    """Bytes resident at most in a process that does this training."""
    command = [sys.executable, "-c", MEASURE, json.dumps(values)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks can be reset on Linux only")
@pytest.mark.parametrize(
    "values",
    [
        {"model": "tracer", "prompts_per_step": 12, "samples_per_prompt": 4},
        {"model": "tracer", "prompts_per_step": 24, "samples_per_prompt": 4},
        {"model": "random:llama-135m", "prompts_per_step": 2, "max_new_tokens": 48},
        {"model": "tracer", "prompts_per_step": 24, "samples_per_prompt": 4, "rows_at_once": 16},
    ],
    ids=["tracer-48", "tracer-96", "llama-4", "tracer-96-in-16"],
)
def test_the_estimate_is_near_the_measured_peak(values: dict[str, Any]) -> None:
    values = {"steps": 1, "samples_per_prompt": 2, "eval_problems": 0, "device": "cpu", **values}
    config = make_config(values)
    rows = rows_in(config)
    need = memory.estimate(config, memory.read_shape(config.model), rows.loss, rows.drawn)
    peak = measured_peak(rows.set_in(config).model_dump())  # as a planned job
    assert 0.9 * peak <= need.total <= 1.5 * peak, (need, peak)


def test_the_plan_takes_as_many_rows_as_fit() -> None:
    config = make_config({**TRACER, "prompts_per_step": 12, "samples_per_prompt": 4})
    shape = memory.read_shape("tracer")
    needs = {rows: memory.estimate(config, shape, rows).total for rows in (48, 24, 16, 1)}
    assert needs[48] > needs[24] > needs[16] > needs[1]
    assert memory.plan(config, free=needs[48]).rows == 48
    assert memory.plan(config, free=needs[48] - 1).rows == 24
    assert memory.plan(config, free=needs[16]).rows == 16
    with pytest.raises(UserError, match=r"1 rows at once of tracer need about 6\d\d MB and 1 MB"):
        memory.plan(config, free=1_000_000)


def test_more_rows_are_drawn_at_once_than_have_a_gradient_at_once() -> None:
    """Long answers of a large model: the loss has room for one row, the drawing for many."""
    config = make_config({"model": "random:qwen2-1.5b", "device": "cpu", "prompts_per_step": 16,
                          "samples_per_prompt": 4, "max_new_tokens": 7168})  # fmt: skip
    shape = memory.read_shape(config.model)
    plan = memory.plan(config, free=memory.estimate(config, shape, 1, 16).total)
    assert (plan.rows, plan.rollout_rows) == (1, 16)
    assert plan.sentence().endswith("1 row at once, 16 while drawing.")
    assert plan.need == plan.free
    # Drawing 16 costs less than a second row in the loss would.
    assert plan.need < memory.estimate(config, shape, 2).total
    fewer = memory.plan(config, free=plan.free - 1)
    assert (fewer.rows, fewer.rollout_rows) == (1, 8)


def test_with_room_for_all_they_are_drawn_in_one_batch() -> None:
    plan = memory.plan(make_config(TRACER), free=1 << 40)
    assert (plan.rows, plan.rollout_rows) == (48, 48)
    few = memory.plan(make_config({**TRACER, "rows_at_once": 4}), free=1 << 40)
    assert (few.rows, few.rollout_rows) == (4, 48)
    asked = memory.plan(make_config({**TRACER, "rollout_rows": 6}), free=1 << 40)
    assert (asked.rows, asked.rollout_rows) == (48, 6)


def test_a_resume_takes_no_more_rows_than_the_start() -> None:
    """More memory is free now: other rows drawn together would be other answers."""
    config = make_config(TRACER)
    plan = memory.plan(config, free=1 << 40, most=Rows(6, 16))
    assert (plan.rows, plan.rollout_rows) == (6, 16)
    need = memory.estimate(config, memory.read_shape("tracer"), 2, 3).total
    less = memory.plan(config, free=need, most=Rows(6, 16))
    assert (less.rows, less.rollout_rows) == (2, 3)


def test_rows_that_were_asked_for_are_kept_or_refused() -> None:
    config = make_config({**TRACER, "rows_at_once": 12})
    need = memory.estimate(config, memory.read_shape("tracer"), 12).total
    plan = memory.plan(config, free=need)
    assert (plan.rows, plan.need) == (12, need)
    assert plan.sentence().endswith("12 rows at once.")
    with pytest.raises(UserError, match="choose fewer rows at once"):
        memory.plan(config, free=need - 1)


def test_processes_share_the_rows_and_the_memory() -> None:
    config = make_config({**TRACER, "processes": 2})
    assert memory.plan(config, free=1 << 40).rows == 24
    alone, shared = memory.available("cpu"), memory.available("cpu", 2)
    assert shared == pytest.approx(alone / 2, rel=0.1)


def test_the_form_gets_a_line_for_every_model() -> None:
    assert "Needs about" in memory.line(make_config(TRACER))
    huge = make_config({**TRACER, "rows_at_once": 4096, "prompts_per_step": 1024,
                        "max_new_tokens": 32_768})  # fmt: skip
    assert memory.line(huge).startswith("Out of memory before it starts")
    begun = time.monotonic()
    assert "can't tell" in memory.line(make_config({"model": "no/such-model"}))
    assert "no model" in memory.line(make_config({"model": "no such model"}))
    assert "no device 'cuda:99'" in memory.line(make_config({**TRACER, "device": "cuda:99"}))
    assert time.monotonic() - begun < 1


def test_start_is_refused_only_where_it_is_certain() -> None:
    memory.refuse_what_cannot_fit(make_config({"model": "no/such-model"}))
    with pytest.raises(UserError, match="Out of memory before it starts"):
        memory.refuse_what_cannot_fit(
            make_config({"model": "random:qwen2-1.5b", "device": "cpu", "rows_at_once": 64,
                         "prompts_per_step": 64, "max_new_tokens": 32_768})
        )  # fmt: skip


def groups(tmp_path: Path, own: str, files: dict[str, str]) -> int:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own)
    return room_in_cgroups(tmp_path / "own", tmp_path)


def test_the_tightest_group_counts(tmp_path: Path) -> None:
    room = groups(
        tmp_path,
        "0::/job/step\n",
        {
            "job/step/memory.max": "max",
            "job/step/memory.current": "100",
            "job/step/memory.stat": "inactive_file 0",
            "job/memory.max": "1000",
            "job/memory.current": "400",
            "job/memory.stat": "anon 300\ninactive_file 50\n",
        },
    )
    assert room == 1000 - 400 + 50


def test_version_1_and_a_path_of_the_host(tmp_path: Path) -> None:
    room = groups(
        tmp_path,
        "4:memory:/docker/abc\n1:cpu:/\n",
        {
            "memory/memory.limit_in_bytes": "5000",
            "memory/memory.usage_in_bytes": "2000",
            "memory/memory.stat": "cache 9\ntotal_inactive_file 7\n",
        },
    )
    assert room == 3007


@pytest.mark.parametrize("own", ["0::/\n", "4:memory:/nowhere\n"])
def test_no_limit_is_no_limit(tmp_path: Path, own: str) -> None:
    assert groups(tmp_path, own, {}) == UNLIMITED
    assert room_in_cgroups(tmp_path / "missing", tmp_path) == UNLIMITED


@pytest.mark.slow
def test_a_command_that_cannot_fit_is_refused() -> None:
    command = [sys.executable, "-m", "rlkv", "train", "--model", "random:qwen2-1.5b"]
    options = ["--rows-at-once", "512", "--prompts-per-step", "512", "--max-new-tokens", "32768"]
    whole = [*command, *options, "--out", "unused"]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Out of memory before it starts" in done.stderr
