import shlex
from html import unescape

import pytest

from rlkv.cli import parser
from rlkv.training.config import PRESETS, TrainConfig
from ui.components import memory_line
from ui.job_form import ABOUT, NAMES, command_line, filled


def test_every_setting_has_its_place_once() -> None:
    assert sorted(NAMES) == sorted(TrainConfig.model_fields)


def test_every_preset_says_what_it_is_for() -> None:
    assert set(ABOUT) == set(PRESETS)


def test_a_preset_fills_the_form() -> None:
    values = dict(zip(NAMES, filled({"model": "mine", **PRESETS["paper"]}), strict=True))
    assert (values["model"], values["task"], values["penalty"]) == ("mine", "deepscaler", 1e-3)
    assert values["advantages"] == TrainConfig.model_fields["advantages"].default


def test_the_command_line_is_understood_and_means_the_same() -> None:
    wanted = {"elimination": False, "strata": "10:5,20:5", "rows_at_once": 4}
    text = unescape(command_line(wanted).removeprefix('<div class="cli">').removesuffix("</div>"))
    options = parser().parse_args(shlex.split(text)[3:])
    assert {name: getattr(options, name) for name in wanted} == wanted


def test_memory_is_told_of_models_that_a_visitor_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(function: str, config: TrainConfig) -> str:
        asked.append(config.model)
        return "Needs 1 GB."

    monkeypatch.setattr(memory_line, "_ask", ask)
    private = {"model": "owner/private-model"}
    assert "Needs" in memory_line.memory_line(private)
    monkeypatch.setenv("RLKV_SHARED", "1")
    asked.clear()
    assert memory_line.memory_line(private) == memory_line.NOTHING
    assert asked == []
    assert "Needs" in memory_line.memory_line({"model": "tracer"})
