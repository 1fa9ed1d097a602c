"""The evaluation that ships with the app."""

from __future__ import annotations

from ui.evaluation.recorded import recorded


def test_a_record_with_three_random_masks_and_no_stored_heads_still_opens() -> None:
    """It was made before masks were stored with their heads, and before five were the default."""
    found = recorded()
    assert found is not None
    assert (found.config.random_seeds, found.config.masks[0].kept) == (3, "")
    (random,) = [one for one in found.results.series if one.method == "random"]
    assert {len(point.cells) for point in random.points} == {3}
    assert found.best is not None
