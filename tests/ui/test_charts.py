"""Values of charts and token texts: plain data that the browser can trust."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest

from ui.components.charts import bars_value, line, lines_value, series, stack_value
from ui.components.tokens import (
    kl_tokens,
    pack_rows,
    roles_of,
    tokens_value,
    unpack_rows,
)


def test_a_histogram_is_plain_json_without_nan() -> None:
    counts, edges = np.histogram([0.1, 0.2, 0.9], 4, (0, 1))
    value = bars_value("Gates", counts, edges=edges, marker=(0.5, "cut"))
    again = json.loads(json.dumps(value, allow_nan=False))
    assert again["series"][0]["values"] == [2, 0, 0, 1]
    assert again["edges"] == [0, 0.25, 0.5, 0.75, 1]
    assert again["labels"][3] == "0.75 to 1"
    assert again["marker"] == {"x": 0.5, "text": "cut"}
    assert "highest at 0 to 0.25" in again["summary"]


def test_what_is_not_finite_becomes_a_hole() -> None:
    value = lines_value("Reward", [line("", "reward", [(0, 0.5), (1, float("nan"))])])
    assert value["series"][0]["points"] == [[0.0, 0.5], [1.0, None]]
    json.dumps(value, allow_nan=False)


def test_stacked_bars_and_their_names_must_fit() -> None:
    both = [series("recent", "recent", [0.3, 0.1]), series("far", "far", [0.2, 0.4])]
    assert [s["role"] for s in bars_value("x", both, ["a", "b"])["series"]] == ["recent", "far"]
    with pytest.raises(ValueError, match="2 bars with 3 labels"):
        bars_value("x", both, ["a", "b", "c"])
    with pytest.raises(ValueError, match="need 3 edges"):
        bars_value("x", [1, 2], ["a", "b"], edges=[0, 1])


def test_shares_are_one_row_or_many() -> None:
    parts = [("sinks", "sink"), ("far", "far")]
    one = stack_value("Looks", cast(Any, parts), [0.25, 0.75])
    assert one["rows"] == [{"label": "", "shares": [0.25, 0.75]}]
    assert one["summary"] == "Looks: sinks 25 %, far 75 %"
    many = stack_value("Looks", cast(Any, parts), [("L0", [1, 0]), ("L1", [0, 1])])
    assert [row["label"] for row in many["rows"]] == ["L0", "L1"]
    with pytest.raises(ValueError, match="1 shares for 2 parts"):
        stack_value("Looks", cast(Any, parts), [1.0])


def test_the_file_name_comes_from_the_title() -> None:
    assert bars_value("Mean gate, by layer!", [1], ["a"])["name"] == "mean-gate-by-layer"


def test_packed_attention_keeps_every_weight_to_a_hundredth() -> None:
    scores = np.random.default_rng(0).normal(0, 3, (40, 40))
    weights = np.tril(np.exp(scores))
    weights /= weights.sum(1, keepdims=True)
    again = unpack_rows(pack_rows(weights), 40)
    assert np.abs(again - weights).max() < 0.005
    assert np.abs(np.sqrt(again) - np.sqrt(weights)).max() < 0.5 / 255 + 1e-9
    assert (again[np.triu_indices(40, 1)] == 0).all()


def test_roles_follow_the_streaming_rule() -> None:
    roles = roles_of(10, query=8, window=(2, 3))
    assert roles == ["sink"] * 2 + ["far"] * 4 + ["recent"] * 2 + ["query", ""]


def test_texts_and_lists_must_fit() -> None:
    with pytest.raises(ValueError, match="1 weights for 2 tokens"):
        tokens_value("t", ["a", "b"], weights=[1.0])
    with pytest.raises(ValueError, match="for 2 tokens"):
        tokens_value("t", ["a", "b"], pattern=np.eye(3), window=(1, 1))
    with pytest.raises(ValueError, match="needs a window"):
        tokens_value("t", ["a", "b"], pattern=np.eye(2))


def test_kl_marks_the_first_changed_token_and_tells_both_candidates() -> None:
    value = kl_tokens(
        "t", ["x", "<b>"], [0.0, 4.0],
        before=[("x", 1.0), ("<b>", 0.9)], after=[("x", 1.0), ("y", 0.6)], first_changed=1,
    )  # fmt: skip
    assert kl_tokens("t", ["a", "b"], [0.25, -1.0])["weights"] == [0.5, 0.0]
    assert value["roles"] == ["", "changed"]
    assert value["weights"] == [0.0, 1.0]
    assert value["tips"][1].split("\n") == [
        "KL 4 nats",
        "full: “<b>” 90.0 %",
        "compressed: “y” 60.0 %",
    ]
