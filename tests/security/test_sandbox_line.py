"""Where a task runs programs that the model writes, the form says how well they are held."""

from __future__ import annotations

import pytest

from rlkv.tasks import TASKS, sandbox
from tests.browser.conftest import Server
from tests.ui.tab import Tab
from ui.components.sandbox_line import RUNS_CODE, sandbox_line


def at(monkeypatch: pytest.MonkeyPatch, level: int, allowed: str = "1") -> None:
    monkeypatch.setattr(sandbox, "level", lambda: level)
    monkeypatch.setenv("RLKV_ALLOW_CODE", allowed)


@pytest.mark.parametrize(("level", "words"), list(enumerate(sandbox.LEVELS)))
def test_the_level_is_shown(level: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, level)
    line = sandbox_line("mbpp")
    assert f"at level {level} of 2, {words}." in line
    assert ("can see your files" in line) == ('class="warn"' in line) == (level == 0)


def test_where_it_is_off_the_line_says_how_to_switch_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 1, allowed="0")
    line = sandbox_line("mbpp")
    assert "set RLKV_ALLOW_CODE=1" in line
    assert "level 1 of 2, basic" in line


def test_a_space_that_contains_nothing_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 0)
    monkeypatch.setenv("SPACE_ID", "user/space")
    assert "This Space can&#x27;t contain" in sandbox_line("mbpp")


def test_other_tasks_say_nothing() -> None:
    assert RUNS_CODE in TASKS
    assert {sandbox_line(task) for task in TASKS if task != RUNS_CODE} == {""}


@pytest.mark.parametrize("form", ["train", "eval"])
def test_both_forms_follow_their_task(form: str, app: Server) -> None:
    tab = Tab(app.url, None)
    chosen = {f"{form}_task": RUNS_CODE}
    line = tab.fire(f"{form}-task", "change", **chosen)[f"{form}-sandbox"]
    assert f"level {sandbox.level()} of 2" in line
