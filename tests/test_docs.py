"""The documents can't lie: what they show is run, what they name is there."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from rlkv.cli import parser
from rlkv.commands.describing import MADE, leaves, put_into
from rlkv.evaluation.config import EvalConfig
from rlkv.training.config import TrainConfig
from tests.recipes import PAGE as RECIPES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
CODE = ("rlkv", "storage", "ui", "scripts")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))

# --- the front page -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_readmes_python_runs() -> None:
    (code,) = blocks(README, "python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "k=6" in done.stdout


def test_the_two_commands_come_first_and_exist() -> None:
    shown = re.findall(r"bash (scripts/\w+)", README)
    assert shown[:2] == ["scripts/app", "scripts/test"]
    assert all((ROOT / script).is_file() for script in shown)
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text()


def test_the_front_page_shows_what_it_is_then_a_picture_the_commands_and_the_walk() -> None:
    text = README.split("---\n", 2)[2]
    marks = ["# RLKV Studio", "A reasoning model", "![", "```bash", "## A five-minute walk"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert len(README.splitlines()) < 160


def test_the_front_matter_makes_it_a_space() -> None:
    front = README.split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in front.splitlines() if ": " in line)
    assert fields["sdk"] == "gradio"
    assert (ROOT / fields["app_file"]).is_file()
    requirements = (ROOT / "requirements.txt").read_text()
    assert "gradio>=6.31,<6.32" in requirements
    assert fields["sdk_version"].startswith("6.31")
    assert len(fields["short_description"]) <= 60


# --- what pages name is there ---------------------------------------------------------------------


@every_page
def test_links_and_pictures_are_there(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]+))?\)", page.read_text()):
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{target}#{anchor}"


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    words = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in words}


@every_page
def test_files_of_the_project_that_are_named_exist(page: Path) -> None:
    """Such as `rlkv/cache.py` or `ui/api/`; the recipes name files that are to be written."""
    to_come = set(re.findall(r"^```(?:python|diff) (\S+)", RECIPES.read_text(), re.MULTILINE))
    named = re.findall(
        r"`((?:rlkv|storage|ui|tests|examples|scripts|docs)/[\w./-]*)`", page.read_text()
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert set(missing) <= (to_come if page == RECIPES else set())


@every_page
def test_command_lines_are_understood(page: Path) -> None:
    for words in commands(page.read_text()):
        assert parser().parse_args(words).run, words


def commands(text: str) -> Iterator[list[str]]:
    """What comes after `-m rlkv` in shell blocks; 1 stands for shell variables."""
    for block in blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("-m rlkv ")[1:]:
                plain = re.sub(r"\$\{?\w+\}?", "1", part)
                if plain.count("'") % 2:  # the end of `bash -c '...'`
                    plain = plain.replace("'", "")
                words = shlex.shlex(plain, posix=True, punctuation_chars=True)
                words.whitespace_split = True
                yield list(takewhile(lambda word: word[0] not in "|;&><()", words))


def test_there_are_command_lines() -> None:
    assert len(list(commands(README))) >= 5
    assert sum(len(list(commands(page.read_text()))) for page in PAGES) > 30


@every_page
def test_commands_that_a_sentence_names_exist(page: Path) -> None:
    known = {name for name, _ in leaves(parser())} | {"COMMAND"}
    for words in re.findall(r"`(?:\.venv/bin/)?python -m rlkv ([^`]*)`", page.read_text()):
        first = words.replace("\n", " ").split()
        assert first[0] in known or " ".join(first[:2]) in known, words


# --- what is made of the code ---------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_tables_of_the_command_line_and_settings_are_as_the_code_says(name: str) -> None:
    page = (DOCS / name).read_text()
    assert put_into(page, name) == page, f"python -m rlkv.commands.describing docs/{name}"


SETTINGS_OF = {"train": TrainConfig.model_fields, "sweep": EvalConfig.model_fields}


def test_every_option_and_setting_is_on_its_page() -> None:
    page = (DOCS / "cli.md").read_text()
    for name, one in leaves(parser()):
        part = page.split(f"\n## `{name}`\n")[1].split("\n## ")[0]
        fields = {f"--{field.replace('_', '-')}" for field in SETTINGS_OF.get(name, {})}
        options = {word for a in one._actions for word in a.option_strings if word[:2] == "--"}
        for option in options - fields - {"--help", "--json"}:
            assert option in part or option.startswith("--no-"), (name, option)
    settings = (DOCS / "settings.md").read_text()
    for field in (*TrainConfig.model_fields, *EvalConfig.model_fields):
        assert f"| `{field}` |" in settings


def test_the_table_of_the_apps_options_is_as_the_code_says() -> None:
    """From a process of its own: a Space's environment would change a default."""
    page = (DOCS / "cli.md").read_text()
    clean = {name: value for name, value in os.environ.items() if name != "GRADIO_SERVER_PORT"}
    program = "import sys; from ui.describing import put_into; print(put_into(sys.stdin.read()))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=clean, input=page, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == page + "\n", "python -m ui.describing docs/cli.md"
    assert "| `--auth NAME:PASSWORD` |" in page
    assert "(default: 7860)" in page


def test_all_environment_variables_are_in_one_table_and_no_others() -> None:
    files = [p for name in CODE for p in (ROOT / name).rglob("*") if p.suffix in ("", ".py", ".sh")]
    code = "\n".join(path.read_text() for path in files if path.is_file())
    part = (DOCS / "settings.md").read_text().split("## Environment variables")[1]
    quotas = re.findall(r"\| `(RLKV_\w+)` \|$", (DOCS / "visitors.md").read_text(), re.MULTILINE)
    settings = set(re.findall(r"`(RLKV_\w+)`", part))
    assert settings | set(quotas) == set(re.findall(r"\bRLKV_[A-Z_]+[A-Z]\b", code))
    assert not settings & set(quotas)


# --- troubleshooting ------------------------------------------------------------------------------


@cache
def said_by_the_code() -> str:
    """All text that the code holds, pieces of one string joined."""
    pieces = [path.read_text() for path in (ROOT / "scripts").iterdir() if path.is_file()]
    for name in ("rlkv", "storage", "ui"):
        for path in (ROOT / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    pieces.append(node.value)
    return "\n".join(pieces)


def quoted() -> list[str]:
    page = (DOCS / "troubleshooting.md").read_text()
    return re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)


@pytest.mark.parametrize("message", quoted())
def test_messages_that_are_quoted_are_still_said(message: str) -> None:
    assert message in said_by_the_code()


def test_troubleshooting_quotes_and_answers() -> None:
    assert len(quoted()) > 30
    rows = re.findall(r"^\| (.+) \|$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert all(len(row.split(" | ")) == 3 for row in rows if not row.startswith("-"))


# --- the papers of a project ----------------------------------------------------------------------


def test_how_to_cite_it() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(found)
    assert (found["version"], found["license"]) == (project["version"], project["license"])
    assert [one["url"].rpartition("/")[2] for one in found["references"]] == [
        "2510.08525",
        "2410.10819",
    ]
    assert all(one["authors"] and one["title"] for one in found["references"])


def test_the_changelog_names_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.findall(r"^## \[.*$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert version in newest


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert re.findall(r"^   (\d)\. ", text, re.MULTILINE) == list("123456789")
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    missing = [p.name for p in DOCS.glob("*.md") if p.name != "README.md" and p.name not in index]
    assert not missing
