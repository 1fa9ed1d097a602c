"""What must not be in the source at all: reading code out of data, shells, doors to the outside."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("rlkv", "storage", "ui", "examples", "scripts")
SOURCES = sorted([ROOT / "app.py", *(p for name in PLACES for p in (ROOT / name).rglob("*.py"))])
SCRIPTS = sorted((ROOT / "ui" / "static").glob("*.js"))

MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "yaml", "cloudpickle"}
NAMES = {"eval", "exec", "__import__"}
CALLS = {
    "os.system", "os.popen", "torch.load", "torch.save", "yaml.load", "gr.load", "gr.FileExplorer",
    "gradio.load", "gradio.FileExplorer", "tempfile.mktemp",
}  # fmt: skip
ARGUMENTS = {"trust_remote_code", "shell", "share", "allow_pickle", "weights_only"}
"""Keywords that may only be given as False."""
ALLOWED = {
    # The program in the sandbox runs what a model wrote: that is what the sandbox is for.
    ("rlkv/tasks/sandbox_program.py", "exec"),
    ("rlkv/tasks/sandbox_program.py", "eval"),
    # Runs the cells of the notebook that ships with the project.
    ("scripts/notebook.py", "exec"),
    ("scripts/notebook.py", "eval"),
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def findings(text: str) -> set[str]:
    """What a source does that it must not."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.add(node.module or "")
        elif isinstance(node, ast.Name) and node.id in NAMES:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and dotted(node) in CALLS:
            found.add(dotted(node))
        elif isinstance(node, ast.Call):
            found |= _arguments(node)
    return found


def _arguments(call: ast.Call) -> set[str]:
    return {
        f"{one.arg}={ast.unparse(one.value)}"
        for one in call.keywords
        if one.arg in ARGUMENTS
        and not (isinstance(one.value, ast.Constant) and one.value.value is False)
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
        ("torch.load(p)", "torch.load"),
        ("load = torch.load", "torch.load"),
        ("f(trust_remote_code=True)", "trust_remote_code=True"),
        ("f(trust_remote_code=yes)", "trust_remote_code=yes"),
        ("subprocess.run('ls', shell=True)", "shell=True"),
        ("app.launch(share=True)", "share=True"),
        ("gr.load('x')", "gr.load"),
        ("gr.FileExplorer()", "gr.FileExplorer"),
    ],
)
def test_what_is_looked_for_is_found(text: str, found: str) -> None:
    assert findings(text) == {found}


@pytest.mark.parametrize("kind", ["own", "qwen3"])
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
