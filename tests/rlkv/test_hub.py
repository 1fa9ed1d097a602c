import os
import subprocess
import sys
from pathlib import Path

from rlkv.masks import HeadMask
from tests.rlkv.hub_stand_in import hub

PUSH = """
import sys
from rlkv.masks import HeadMask
mask = HeadMask.load(sys.argv[1])
print(mask.push_to_hub("user/my-mask", token="hf_secret"))
assert HeadMask.load("user/my-mask") == mask
"""

LOAD = """
import sys
from rlkv.errors import UserError
from rlkv.masks import HeadMask
try:
    HeadMask.load("user/other")
except UserError as error:
    print(error)
"""


def python(code: str, endpoint: str, tmp_path: Path, *arguments: str, offline: str = "0") -> str:
    """Runs code in a process of its own: the Hub's address is read once, on import."""
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "RLKV_OFFLINE": offline,
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_mask_goes_to_the_hub_in_one_commit_and_comes_back(tmp_path: Path) -> None:
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16, model="org/base")
    folder = mask.save(tmp_path / "mask")
    with hub() as (endpoint, stand_in):
        assert "user/my-mask" in python(PUSH, endpoint, tmp_path, str(folder))
    assert stand_in.commits == ["Upload head mask"]
    files = stand_in.repos["user/my-mask"]
    assert set(files) == {
        "README.md", "config.json", "full_attention_heads.tsv", "gates.safetensors"
    }  # fmt: skip
    assert b"base_model: org/base" in files["README.md"]
    assert b'HeadMask.load("user/my-mask")' in files["README.md"]


def test_a_repo_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with hub() as (endpoint, _):
        (line,) = python(LOAD, endpoint, tmp_path).splitlines()
    assert "'user/other'" in line
    assert "check its name" in line


def test_without_a_network_the_answer_comes_at_once(tmp_path: Path) -> None:
    (line,) = python(LOAD, "http://127.0.0.1:9", tmp_path).splitlines()
    assert "127.0.0.1 can't be reached" in line
    (line,) = python(LOAD, "http://127.0.0.1:9", tmp_path, offline="1").splitlines()
    assert "work offline" in line
