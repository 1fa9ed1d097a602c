"""The head map as data, and what of the browser's words about it is believed."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.gate_history import GateHistory
from rlkv.mask_files.limits import require_shape
from rlkv.masks import HeadMask
from ui.components.headmap import (
    MOST_FRAMES,
    gate_texts,
    head_map_value,
    painted,
    picked,
    training_frames,
)
from ui.mask_figures import size_of

SHAPE = (4, 8)


def test_notes_that_fit_no_model_give_no_size() -> None:
    noted = {"head_dim": 16, "itemsize": 4, "query_heads": 16}
    size = size_of(HeadMask.full(4, 8, model="org/x", info=noted))
    assert size is not None
    assert size.group == 2
    assert size_of(HeadMask.full(4, 8, info={**noted, "query_heads": 4})) is None


def test_values_texts_and_words_stand_at_their_cells() -> None:
    table = np.array([[1.0, 0.25], [0.0, 0.5]])
    value = head_map_value(table, kept=table > 0.4, selected=(1, 0))
    assert value["values"] == [[1.0, 0.25], [0.0, 0.5]]
    assert value["texts"] == [["1", ".25"], [".00", ".50"]]
    assert gate_texts(np.array([[0.994, 0.996]])) == [[".99", "1"]]
    assert value["hover"][1][1] == "gate 0.500 · rank 2 of 4"
    assert value["kept"] == [[True, False], [False, True]]
    assert value["selected"] == [1, 0]


def test_what_can_be_imported_can_be_drawn() -> None:
    require_shape((2, 10_000))
    assert len(head_map_value(np.ones((2, 10_000)))["values"][0]) == 10_000
    with pytest.raises(UserError, match="layers x KV heads"):
        require_shape((2, 10_001))
    with pytest.raises(ValueError, match="head map"):
        head_map_value(np.ones((2, 10_001)))


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        (np.ones(4), None),
        (np.ones((0, 4)), None),
        (np.array([[np.nan]]), None),
        (np.ones((2, 2)), np.ones((2, 3), bool)),
    ],
)
def test_tables_that_do_not_fit_are_refused(table: Any, kept: Any) -> None:
    with pytest.raises(ValueError, match="head map"):
        head_map_value(table, kept=kept)


def history(steps: int) -> GateHistory:
    gates = np.random.default_rng(0).random((steps, *SHAPE), dtype=np.float32)
    rewards = np.linspace(0, 1, steps).astype(np.float32)
    rewards[0] = np.nan
    return GateHistory(np.arange(1, steps + 1), gates, rewards)


def test_frames_hold_the_gates_finely_enough_to_rank_them() -> None:
    past = history(20)
    frames = training_frames(past, "key")
    read = np.frombuffer(base64.b64decode(frames["gates"]), "<u2") / 65535
    assert np.abs(read.reshape(past.gates.shape) - past.gates).max() < 1e-5
    assert frames["steps"] == list(range(1, 21))
    assert frames["rewards"][0] is None
    assert frames["rewards"][-1] == 1.0


def test_a_long_training_is_thinned_but_keeps_its_ends() -> None:
    frames = training_frames(history(1000), "key")
    assert len(frames["steps"]) <= MOST_FRAMES
    assert frames["steps"][0] == 1
    assert frames["steps"][-1] == 1000


def test_a_click_names_a_head() -> None:
    assert picked({"layer": 3, "head": 7}, SHAPE) == (3, 7)


BAD_INDICES = [(4, 0), (-1, 0), ("1", 0), (True, 0), (None, 0), (0.0, 0), (0, [1]), (10**40, 0)]


@pytest.mark.parametrize("cell", BAD_INDICES)
def test_a_click_beside_the_heads_is_nobody(cell: tuple[Any, Any]) -> None:
    assert picked({"layer": cell[0], "head": cell[1]}, SHAPE) is None
    assert painted({"cells": [[0, 0], list(cell)], "keep": True, "n": 1}, SHAPE) is None


@pytest.mark.parametrize("data", [None, [], "pick", {}, {"layer": 0}, 3])
def test_events_of_another_form_are_nobody(data: Any) -> None:
    assert picked(data, SHAPE) is None
    assert painted(data, SHAPE) is None


def test_a_stroke_names_cells_a_way_and_a_number() -> None:
    data = {"cells": [[0, 1], [0, 2]], "keep": False, "n": 7}
    assert painted(data, SHAPE) == ([(0, 1), (0, 2)], False, 7)


@pytest.mark.parametrize(
    "change",
    [
        {"keep": 1},
        {"keep": "true"},
        {"n": -1},
        {"n": True},
        {"n": 2**31},
        {"cells": []},
        {"cells": "0,1"},
        {"cells": [[0, 1, 2]]},
        {"cells": [{"layer": 0, "head": 1}]},
        {"cells": [[0, 1]] * 33},
    ],
)
def test_a_stroke_is_taken_whole_or_not_at_all(change: dict[str, Any]) -> None:
    assert painted({"cells": [[0, 1]], "keep": True, "n": 1, **change}, SHAPE) is None
