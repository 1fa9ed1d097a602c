"""A lent GPU: calls run in a forked process, and everything crosses to it and back as pickles.

The package `spaces` is stood in for by `tests/space/stand_in`; there is no GPU, so the other
process uses the CPU. What is decorated is decided when `ui.zero_gpu` is imported, so the cases run
in a process of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.browser.conftest import ROOT
from ui import engine, zero_gpu

pytestmark = pytest.mark.slow
STAND_IN = ROOT / "tests" / "space" / "stand_in"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.ui.zero_gpu_cases` saw."""
    environment = {
        **os.environ,
        "SPACE_ID": "someone/studio",
        "SPACES_ZERO_GPU": "true",
        "PYTHONPATH": os.pathsep.join([str(STAND_IN), str(ROOT)]),
        "RLKV_DATA_DIR": str(tmp_path_factory.mktemp("data")),
    }
    folder = str(tmp_path_factory.mktemp("model"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.ui.zero_gpu_cases", folder],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_an_answer_over_there_is_the_answer_here(found: dict[str, Any]) -> None:
    assert found["same"]["there"] == found["same"]["here"]
    assert found["same"]["frames"] > 10
    assert found["same"]["differences"] == [None, True]
    assert found["same"]["left"] == []  # no reference to the model stays


def test_it_runs_in_another_process_that_is_used_again(found: dict[str, Any]) -> None:
    own, first, second = found["processes"]
    assert first == second != own


def test_a_model_loaded_after_the_fork_is_loaded_over_there(found: dict[str, Any]) -> None:
    assert found["late"]["there"] == found["late"]["here"]
    assert found["late"]["process"] == found["processes"][1]


def test_stop_ends_the_work_over_there(found: dict[str, Any]) -> None:
    assert found["stopped"]["reasons"] == ["stopped", "stopped"]
    assert 5 <= found["stopped"]["tokens"] <= 10
    assert found["closed"] < 2.0  # seconds; the whole answer would take many
    assert found["after stop"]


def test_a_users_mistake_keeps_its_words(found: dict[str, Any]) -> None:
    assert "mask" in found["refused"]
    assert "16" in found["refused"]


def test_the_seconds_asked_for_follow_the_length(found: dict[str, Any]) -> None:
    short, long = found["seconds"]
    assert short < long <= zero_gpu.LONGEST_SECONDS


@pytest.mark.parametrize("what", ["table", "looks", "effect", "question"])
def test_measurements_over_there_are_those_here(found: dict[str, Any], what: str) -> None:
    assert found["measured"][what]["there"] == found["measured"][what]["here"]
    assert found["measured"][what]["process"] != found["processes"][0]


def test_the_embedded_model_stays_here(found: dict[str, Any]) -> None:
    assert found["embedded"] == []
    assert zero_gpu.EMBEDDED == engine.MODEL


def test_a_mask_is_not_changed_during_an_answer_there(found: dict[str, Any]) -> None:
    assert found["fixed"] == [zero_gpu.FIXED, ""]


def test_models_wait_on_the_cpu_there(found: dict[str, Any]) -> None:
    assert found["placement"] == [
        {"device": "cpu", "dtype": "float32"},
        {"device": "cpu", "dtype": "bfloat16"},
    ]


def test_the_space_can_refuse_a_gpu(found: dict[str, Any]) -> None:
    assert found["quota"] == "No answer from the Space's GPU: You have exceeded your quota"


def test_elsewhere_it_does_nothing() -> None:
    assert zero_gpu._answered is zero_gpu._answer
    assert zero_gpu._measured is zero_gpu._found
    assert zero_gpu.placement("org/model") == {}
    assert not zero_gpu.runs_apart("org/model")
    zero_gpu.require_changeable("org/model")
    assert "spaces" not in sys.modules


def test_the_decorated_functions_are_there_before_gradio_and_torch() -> None:
    """A ZeroGPU Space refuses to start without any, and with torch imported before its package."""
    program = (
        "import sys, pathlib; from ui.__main__ import prepare; prepare(pathlib.Path(sys.argv[1]));"
        "import spaces; print(sorted(spaces.decorated), spaces.before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, os.environ["RLKV_DATA_DIR"]],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "SPACES_ZERO_GPU": "true", "PYTHONPATH": f"{STAND_IN}:{ROOT}"},
    )  # fmt: skip
    assert done.stdout.strip() == "['_answer', '_found'] []", done.stderr
