"""The wheel: what it needs, what it holds, and that it works away from the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
import time
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from rlkv import __version__
from rlkv.masks import HeadMask
from rlkv.shipped import EXAMPLES, shipped_mask
from tests.browser.conftest import free_port

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = ("rlkv", "storage", "ui", "examples")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
HELD = {"transformers", "trl", "gradio"}
"""What the app keeps to the minor versions of that it was tested with; the library does not."""
TESTS_ONLY = {"pytest"}
NOT_THE_LIBRARYS = [
    "gradio", "plotly", "sqlalchemy", "trl", "datasets", "accelerate", "pyarrow", "math_verify",
    "reasoning_gym", "segno", "storage", "ui", "mcp",
]  # fmt: skip

AWAY = """
import sys
from importlib.machinery import PathFinder
BLOCKED = set(sys.argv[1].split(","))
class Away:
    # All packages but some, as if those had never been installed.
    finders = list(sys.meta_path)
    find_distributions = staticmethod(PathFinder.find_distributions)
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec is not None), None)
sys.meta_path[:] = [Away()]
"""
USE = """
import rlkv
model, tokenizer = rlkv.load_model("tracer")
prompt = [{"role": "user", "content": "c=7; b=6; e:c-b; k:c-e; ?k"}]
inputs = tokenizer.apply_chat_template(
    prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
mask = rlkv.HeadMask.from_pretrained("tracer").at_sparsity(0.5)
cache = rlkv.SplitHeadCache(model, mask)
output = model.generate(**inputs, past_key_values=cache, max_new_tokens=100)
print(rlkv.__file__)
print(tokenizer.decode(output[0]))
"""


def requirements(extra: str | None = None) -> dict[str, Requirement]:
    """What the library needs, or an extra, that of other extras in it included."""
    optional: dict[str, list[str]] = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] if extra is None else optional[extra]
    found: dict[str, Requirement] = {}
    for line in lines:
        one = Requirement(line)
        if one.name == "rlkv":
            for inner in one.extras:
                found |= requirements(inner)
        else:
            found[one.name] = one
    return found


def test_a_space_gets_what_the_app_needs_and_nothing_else() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    space = {one.name: one for one in map(Requirement, lines)}
    app = requirements() | requirements("app")
    assert set(space) - TESTS_ONLY == set(app)
    for name, one in app.items():
        pinned = re.fullmatch(r"==([\w.]+)", str(space[name].specifier))
        if pinned:
            assert one.specifier.contains(pinned[1]), name
        elif name in HELD:  # the same floor, under a lower ceiling
            floor, ours = (
                {str(part) for part in each.specifier if part.operator == ">="}
                for each in (one, space[name])
            )
            assert floor == ours, name
            assert any(part.operator == "<" for part in space[name].specifier), name
        else:
            assert space[name].specifier == one.specifier, name


def test_a_spaces_own_packages_go_with_ours() -> None:
    """A Space installs gradio[oauth,mcp] beside our requirements, which narrows pydantic."""
    ours = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}
    assert ours["pydantic"].specifier.contains("2.12.5")


def test_the_shipped_masks_are_found_by_name() -> None:
    names = {path.name for path in (EXAMPLES / "masks").iterdir()}
    assert {"tracer", "smollm2-135m-repeat"} <= names
    for name in names:
        assert HeadMask.from_pretrained(name) == HeadMask.load(EXAMPLES / "masks" / name)
    assert shipped_mask("..") is None
    assert shipped_mask("") is None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is written here."""
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "-w", str(out), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.mark.slow
def test_the_wheel_holds_all_packages_and_the_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    assert f"Version: {__version__}" in text
    wanted = {
        path.relative_to(ROOT).as_posix()
        for part in ("rlkv", "storage", "ui")
        for path in (ROOT / part).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert wanted <= names
    data = {p.relative_to(EXAMPLES).as_posix() for p in EXAMPLES.rglob("*") if p.is_file()}
    data = {name for name in data if not name.endswith((".py", ".pyc"))}
    assert {f"rlkv/examples/{name}" for name in data} <= names
    assert not any(name.startswith("tests/") for name in names)


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The packages of an environment that has the wheel, and all else from this one."""
    venv.create(tmp_path / "env", with_pip=False)
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, str(packages), str(wheel)], check=True, capture_output=True)
    # Of the packages that are here already only; our own editable install must not come along.
    (packages / "known.pth").write_text("\n".join(site.getsitepackages()))
    return packages


def python_of(packages: Path) -> str:
    return str(packages.parents[2] / "bin" / "python")


@pytest.mark.slow
def test_the_app_starts_by_its_command(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [python_of(installed), str(installed / "bin" / "rlkv-studio")]
    environment = {**os.environ, "RLKV_DATA_DIR": str(tmp_path / "data")}
    app = subprocess.Popen([*command, "--port", str(port)], cwd=tmp_path, env=environment)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    assert "RLKV Studio" in page.read().decode()
                break
            except OSError:
                assert time.monotonic() < end
                assert app.poll() is None, "the app has ended"
                time.sleep(0.2)
    finally:
        app.terminate()
        assert app.wait(30) == 0


@pytest.mark.slow
def test_without_the_extra_the_command_says_what_is_missing(
    installed: Path, tmp_path: Path
) -> None:
    code = f"{AWAY}\nsys.argv = ['rlkv-studio']\nfrom ui.__main__ import main\nsys.exit(main())"
    program = [python_of(installed), "-c", code, "gradio,sqlalchemy"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("The pages need more packages: pip install 'rlkv[app]'")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_installed_library_works_elsewhere_with_its_own_needs_only(
    installed: Path, tmp_path: Path
) -> None:
    python, packages = python_of(installed), installed
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*words: str) -> str:
        done = subprocess.run(
            [python, *words], cwd=elsewhere, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run("-c", AWAY + USE, ",".join(NOT_THE_LIBRARYS))
    assert said.splitlines()[0].startswith(str(packages))
    assert "k=6" in said
    assert "usage: python -m rlkv" in run("-m", "rlkv", "--help")
    told = run("-m", "rlkv", "chat", "--mask", str(packages / "rlkv/examples/masks/tracer"),
               "--json", "a=3; b=4; c:a+b; ?c")  # fmt: skip
    assert "c=7" in json.dumps(json.loads(told.splitlines()[-1]))
    assert "RLKV Studio, in the browser" in run("-m", "ui", "--help")
    app = "from ui import Settings; from ui.studio import EXAMPLES; print(EXAMPLES)"
    assert run("-c", app).strip() == str(packages / "rlkv" / "examples")
