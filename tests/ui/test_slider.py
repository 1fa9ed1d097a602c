"""Sliders whose number box holds anything."""

from __future__ import annotations

import pytest

from ui.components.slider import Slider


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (0.3, 0.3), (7, 1.0), (-1, 0.0), (float("inf"), 1.0), (float("nan"), None), (None, None),
        (True, None), ("0.5", None), ([1], None),
    ],
)  # fmt: skip
def test_a_number_beyond_the_ends_is_the_end_and_no_number_is_none(
    sent: object, taken: float | None
) -> None:
    assert Slider(0, 1, 0.5).preprocess(sent) == taken  # type: ignore[arg-type]
