"""The settings of a training: presets, what is refused, and how old ones are read."""

from typing import Any

import pytest

from rlkv.errors import UserError
from rlkv.training.config import TrainConfig, make_config


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"steps": 0}, "Steps: .*greater than or equal to 1, got 0"),
        ({"penalty": -1}, "Penalty"),
        ({"learning_rate": "fast"}, "Learning rate: .*number"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_settings_name_the_field(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_config(values)


def test_unknown_preset() -> None:
    with pytest.raises(UserError, match="no preset 'instant'"):
        make_config({}, "instant")


def test_every_setting_explains_itself() -> None:
    for name, field in TrainConfig.model_fields.items():
        assert field.title, name
        assert field.description, name


def test_settings_of_the_first_version_are_understood() -> None:
    assert make_config({"hardening": True}).hardening == "anneal"
    assert make_config({"hardening": "none"}).hardening == "none"


def test_the_paper_preset_is_as_published() -> None:
    paper = make_config({}, "paper")
    assert (paper.penalty, paper.cutoff, paper.learning_rate) == (1e-3, 0.5, 1e-2)
    assert (paper.prompts_per_step, paper.samples_per_prompt, paper.steps) == (32, 4, 185)
    assert (paper.sink, paper.recent, paper.window) == (128, 256, (16, 64))
    assert (paper.hardening, paper.elimination, paper.adam_epsilon) == ("none", False, 1e-8)
    assert (paper.pool, paper.max_new_tokens, paper.weight_decay) == (3000, 7168, 0.017)
    assert paper.strata == "2048:600,4096:600,6144:1000,8192:800"
    assert sum(int(part.split(":")[1]) for part in paper.strata.split(",")) == paper.pool
    assert (paper.temperature, paper.top_p, paper.top_k) == (1.0, 1.0, 0)
    assert (paper.task, paper.advantages) == ("deepscaler", "group")


@pytest.mark.parametrize("preset", ["quick", "thorough", "paper"])
def test_presets_are_valid(preset: str) -> None:
    assert make_config({}, preset).steps > 0


@pytest.mark.parametrize("timeout", ["24", "0h", "-1h", "a day", "24h\n", "1e3s"])
def test_a_time_limit_has_a_unit(timeout: str) -> None:
    assert make_config({"timeout": "1.5h"}).timeout == "1.5h"
    with pytest.raises(UserError, match="Time limit"):
        make_config({"timeout": timeout})
