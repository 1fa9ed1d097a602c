"""What must not be in the source at all: reading code out of data, shells, doors to the outside."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("rlkv", "storage", "ui", "examples", "scripts")
SOURCES = sorted([ROOT / "app.py", *(p for name in PLACES for p in (ROOT / name).rglob("*.py"))])
SCRIPTS = sorted((ROOT / "ui" / "static").glob("*.js"))

MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "yaml", "cloudpickle"}
NAMES = {"eval", "exec", "__import__"}
CALLS = {
    "os.system", "os.popen", "torch.load", "torch.save", "yaml.load", "gradio.load",
    "gradio.FileExplorer", "tempfile.mktemp",
}  # fmt: skip
SAFE = {
    "trust_remote_code": False,
    "shell": False,
    "share": False,
    "allow_pickle": False,
    "weights_only": True,
}
"""The one value that may be given for each of these keywords."""
ALLOWED = {
    # The program in the sandbox runs what a model wrote: that is what the sandbox is for.
    ("rlkv/tasks/sandbox_program.py", "exec"),
    ("rlkv/tasks/sandbox_program.py", "eval"),
    # Runs the cells of the notebook that ships with the project.
    ("scripts/notebook.py", "exec"),
    ("scripts/notebook.py", "eval"),
}


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`a.b.c` of a name, its first part as it was imported; "" of anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (before := dotted(node.value, names)):
        return f"{before}.{node.attr}"
    return ""


def imported(tree: ast.Module) -> dict[str, str]:
    """What each imported name means: `t` is `torch`, `load` is `torch.load`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def findings(text: str) -> set[str]:
    """What a source does that it must not."""
    tree = ast.parse(text)
    names, found = imported(tree), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom):
            found |= _taken(node)
        elif isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names)
            found |= {name.removeprefix("builtins.")} & NAMES | {name} & CALLS
        elif isinstance(node, ast.Call):
            found |= _unsafe((one.arg, one.value) for one in node.keywords)
        elif isinstance(node, ast.Dict):  # handed on by `**`, perhaps far from here
            found |= _unsafe(zip(map(_text, node.keys), node.values, strict=True))
    return found


def _taken(node: ast.ImportFrom) -> set[str]:
    """What is imported from a module, used or not."""
    module = node.module or ""
    if module.split(".")[0] in MODULES:
        return {module}
    named = {alias.name for alias in node.names}
    if module == "builtins":
        return named & NAMES
    return {f"{module}.{name}" for name in named} & CALLS


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _unsafe(given: Iterable[tuple[str | None, ast.expr]]) -> set[str]:
    return {
        f"{name}={ast.unparse(value)}"
        for name, value in given
        if name in SAFE and not (isinstance(value, ast.Constant) and value.value is SAFE[name])
    }


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 150
    assert len(SCRIPTS) > 10


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_reads_code_out_of_data_or_opens_a_door(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert {one for one in findings(path.read_text()) if (name, one) not in ALLOWED} == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("import yaml.loader", "yaml.loader"),
        ("x = eval('1')", "eval"),
        ("run = eval", "eval"),
        ("from builtins import eval as look", "eval"),
        ("import builtins; builtins.exec('1')", "exec"),
        ("torch.load(p)", "torch.load"),
        ("load = torch.load", "torch.load"),
        ("import torch as t; t.load(p)", "torch.load"),
        ("from torch import load; load(p)", "torch.load"),
        ("from torch import load as read", "torch.load"),
        ("from os import system", "os.system"),
        ("f(weights_only=False)", "weights_only=False"),
        ("f(trust_remote_code=True)", "trust_remote_code=True"),
        ("f(trust_remote_code=yes)", "trust_remote_code=yes"),
        ("subprocess.run('ls', shell=True)", "shell=True"),
        ("subprocess.run('ls', **{'shell': True})", "shell=True"),
        ("options = {'shell': True}", "shell=True"),
        ("app.launch(share=True)", "share=True"),
        ("import gradio as gr; gr.load('x')", "gradio.load"),
        ("from gradio import load", "gradio.load"),
        ("import gradio as gr; gr.FileExplorer()", "gradio.FileExplorer"),
    ],
)
def test_what_is_looked_for_is_found(text: str, found: str) -> None:
    assert findings(text) == {found}


def test_both_faults_of_one_call_are_found() -> None:
    text = "from torch import load; load(p, weights_only=False)"
    assert findings(text) == {"torch.load", "weights_only=False"}


@pytest.mark.parametrize(
    "text",
    [
        "f(weights_only=True, trust_remote_code=False, shell=False)",
        "options = {'trust_remote_code': False}",
        "import torch as t; t.ones(2); model.eval()",
        "from json import load; load(f)",
    ],
)
def test_what_is_harmless_is_let_be(text: str) -> None:
    assert findings(text) == set()


@pytest.mark.parametrize("kind", ["own", pytest.param("qwen3", marks=pytest.mark.slow)])
def test_a_models_own_code_is_never_run(tmp_path: Path, kind: str) -> None:
    """Also where somebody would say yes: transformers asks in the terminal unless told not to."""
    config = {
        "model_type": kind,
        "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model",
                     "AutoTokenizer": ["own.Tokenizer", None]},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ran = tmp_path / "it-ran"
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w').close()")
    program = "import rlkv, sys\nrlkv.load_model(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, input="y\ny\ny\n",
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "UserError" in done.stderr
    assert "Do you wish to run" not in done.stdout
    assert not ran.exists()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_put_text_in_as_text(path: Path) -> None:
    """Model text never becomes markup. Stories are ours, from a file that ships."""
    text = path.read_text()
    for word in ("insertAdjacentHTML", "outerHTML =", "document.write", "new Function"):
        assert word not in text, word
    assert not re.search(r"\beval\(", text)
    lines = [line for line in text.splitlines() if re.search(r"\.innerHTML\s*\+?=", line)]
    assert path.name == "stories.js" or not lines, lines
    assert not re.search(r"https?://(?!www\.w3\.org/)", text), "an address outside"
