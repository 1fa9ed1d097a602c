"""The form of an evaluation says what it will do, and its command line means the same."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio.state_holder import SessionState

from rlkv.cli import parser
from rlkv.errors import UserError
from rlkv.evaluation.cells import cells, how_many
from rlkv.evaluation.config import EvalConfig
from rlkv.masks import HeadMask
from tests.apart import run_apart
from tests.rlkv.evaluation.stage import MASK, small
from tests.ui.handlers import built, handler
from ui.evaluation.form import NAMES, command_line, config_of, filled, for_model, size_line
from ui.evaluation.page import build
from ui.studio import Settings, Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio.open(Settings(data_dir=tmp_path))
    yield studio
    studio.db.close()


def test_every_setting_has_its_place_once() -> None:
    own = ["model", "masks", "methods", "sparsities"]
    assert sorted([*own, *NAMES]) == sorted(EvalConfig.model_fields)


def test_the_form_and_a_job_hold_the_same(studio: Studio) -> None:
    config = small(problems=7, top=True, tolerance=0.05)
    values = filled(config.model_dump(mode="json"), studio)
    values[1] = ["shipped"]
    again = config_of(studio, values)
    assert again.model_dump(exclude={"masks"}) == config.model_dump(exclude={"masks"})
    assert again.masks[0].scores == config.masks[0].scores


def test_a_mask_that_is_gone_is_told(studio: Studio) -> None:
    values = filled(small().model_dump(mode="json"), studio)
    values[1] = ["1k0vx8367zpepkqe"]
    with pytest.raises(UserError, match="gone"):
        config_of(studio, values)
    assert "gone" in size_line(studio, values)


@pytest.mark.parametrize(
    "config",
    [
        small(),
        small(methods=["learned", "random", "inverse", "streaming", "h2o", "rkv"], top=True),
        small(methods=["far", "duo", "learned"], sparsities="0.2,0.4", random_seeds=4, top=True),
    ],
)
def test_the_size_is_counted_without_a_model(config: EvalConfig) -> None:
    mask = HeadMask.load(MASK)
    ranked = {key: mask.scores for key in config.methods if key in ("far", "duo")}
    assert how_many(config) == len(cells(config, mask.shape, ranked))


def test_points_that_are_left_out_are_told_before_the_start(studio: Studio) -> None:
    values = filled(small(sparsities="0.3,0.5").model_dump(mode="json"), studio)
    values[1] = [HeadMask.load(MASK).to_link()]
    line = size_line(studio, values)
    assert "tied at sparsity 0.3: not measured there" in line
    assert line.startswith('<p class="note">4 points')  # full, random twice, the heads at 0.5
    values[1] = ["shipped"]
    assert "tied" not in size_line(studio, values)


def test_the_command_line_is_understood() -> None:
    config = small(problems=7, top=True)
    options = parser().parse_args(shlex.split(command_line(config))[3:])
    assert (options.problems, options.top, options.sparsities) == (7, True, "0.5")
    assert options.methods == "learned,random"
    assert len(options.mask) == 1


def test_masks_of_a_cloned_job_stay_when_its_model_is_filled_in(studio: Studio) -> None:
    own = [
        HeadMask.random(4, 8, sparsity=0.5, seed=seed, model="org/some").to_record()
        for seed in range(3)
    ]
    keys = [studio.masks.save(record).id for record in own]
    assert for_model(studio, "org/some", "", keys[:2])["value"] == keys[:2]
    assert for_model(studio, "org/some", "", ["shipped", keys[0]])["value"] == [keys[0]]
    assert for_model(studio, "tracer", "", keys)["value"] == ["shipped"]


def test_masks_of_the_model_before_the_last_are_no_mistake(studio: Studio) -> None:
    """Of two models chosen soon after one another, the second finds the chooser as it was."""
    app = built(lambda app: build(studio, app))
    fn = handler(app, "ui.evaluation.form.model_changed")
    changed = next(one for one in app.fns.values() if one.fn is fn)

    async def asked() -> Any:
        given = ["tracer", None, ["a mask of some other model"]]
        return await app.process_api(changed, given, SessionState(app))

    (chooser,) = run_apart(asked())["data"]
    assert chooser["value"] == ["shipped"]
