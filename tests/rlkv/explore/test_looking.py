"""Where heads look: masses, distances and far tokens against sums written out one by one."""

from typing import Any

import numpy as np
import pytest

from rlkv.errors import UserError
from rlkv.explore.looking import distance_edges, far_tokens, looks, mean_looks, pattern
from rlkv.explore.probes import ProbeText
from rlkv.streaming import StreamingWindow
from tests.rlkv.explore.conftest import WINDOW
from tests.rlkv.families import batch, tiny


def masses(weights: Any, window: StreamingWindow) -> list[float]:
    """Sink, recent and far mass of `[G, T, T]`, one weight at a time."""
    sums = np.zeros(3)
    queries = range(window.sink + window.recent, weights.shape[1])
    for i in queries:
        for j in range(i + 1):
            part = 0 if j < window.sink else 1 if i - j < window.recent else 2
            sums[part] += weights[:, i, j].mean()
    return list(sums / len(queries))


def test_masses_are_sums_of_the_pattern(tracer: tuple[Any, Any], texts: list[ProbeText]) -> None:
    model, _ = tracer
    ids = texts[0].ids
    found = looks(model, ids, WINDOW)
    assert found.tokens == len(ids)
    np.testing.assert_allclose(found.sink + found.recent + found.far, 1.0, atol=1e-5)
    for layer, head in [(0, 0), (1, 3), (3, 7)]:
        expected = masses(pattern(model, ids, layer, head), WINDOW)
        parts = [table[layer, head] for table in (found.sink, found.recent, found.far)]
        np.testing.assert_allclose(parts, expected, atol=1e-5)
    assert found.far.max() - found.far.min() > 0.1  # heads differ, or there is nothing to see


def test_distances_are_sums_of_the_pattern(tracer: tuple[Any, Any], texts: list[ProbeText]) -> None:
    model, _ = tracer
    ids = texts[1].ids
    found = looks(model, ids, WINDOW)
    assert found.edges[:5] == (0, 1, 2, 4, 8)
    assert found.edges[-2] < len(ids) <= found.edges[-1]
    np.testing.assert_allclose(found.by_distance.sum(-1), 1.0, atol=1e-5)
    weights = pattern(model, ids, 2, 1).mean(0)
    for bin, first in enumerate(found.edges[:-1]):
        expected = sum(
            weights[i, i - d]
            for d in range(first, found.edges[bin + 1])
            for i in range(d, len(ids))
        )
        assert found.by_distance[2, 1, bin] == pytest.approx(expected / len(ids), abs=1e-5)


@pytest.mark.parametrize("window", [StreamingWindow(0, 1), StreamingWindow(3, 20)])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss"])
def test_all_windows_and_rules(family: str, window: StreamingWindow) -> None:
    """With one query that has far tokens as well; learned sinks count as sinks."""
    model, ids = tiny(family), batch(1, 24)["input_ids"][0].tolist()
    found = looks(model, ids, window)
    np.testing.assert_allclose(found.sink + found.recent + found.far, 1.0, atol=1e-5)
    sink, recent, far = masses(pattern(model, ids, 1, 2), window)
    assert found.recent[1, 2] == pytest.approx(recent, abs=1e-5)
    assert found.far[1, 2] == pytest.approx(far, abs=1e-5)
    if family == "gpt_oss":
        assert found.sink[1, 2] > sink + 1e-3
        assert found.by_distance.sum(-1).max() < 1.0
    else:
        assert found.sink[1, 2] == pytest.approx(sink, abs=1e-5)


def test_a_text_without_far_tokens_is_refused() -> None:
    model, window = tiny("llama"), StreamingWindow(4, 16)
    looks(model, [5] * 21, window)
    with pytest.raises(UserError, match="has 20 tokens but needs at least 21"):
        looks(model, [5] * 20, window)


def test_far_tokens_are_found_where_they_were_put() -> None:
    """Sink 1, recent 2: key 1 is far from query 3 on, key 2 from query 4 on."""
    weights = np.zeros((2, 6, 6), dtype=np.float32)
    weights[0, 3, 1], weights[1, 5, 1] = 0.6, 1.0  # mean of the group over queries 3, 4 and 5
    weights[:, 4, 2] = 0.5
    weights[:, :, 0] = 0.9  # a sink
    weights[:, 4, 3] = 0.9  # recent
    found = far_tokens(weights, StreamingWindow(1, 2))
    assert [(far.position, far.query) for far in found] == [(1, 5), (2, 4)]
    assert [far.mass for far in found] == pytest.approx([(0.3 + 0.5) / 3, 0.5 / 2])
    assert [far.position for far in far_tokens(weights, StreamingWindow(1, 2), top=1)] == [1]
    assert far_tokens(weights, StreamingWindow(1, 6)) == []


def test_bins_hold_every_distance() -> None:
    assert distance_edges(1) == (0, 1)
    assert distance_edges(9) == (0, 1, 2, 4, 8, 16)


def test_the_mean_counts_every_text_the_same() -> None:
    model, ids = tiny("llama"), batch(1, 60)["input_ids"][0].tolist()
    short, long = (looks(model, ids[:n], StreamingWindow(2, 5)) for n in (12, 60))
    both = mean_looks([short, long])
    np.testing.assert_allclose(both.far, (short.far + long.far) / 2, atol=1e-6)
    np.testing.assert_allclose(both.sink + both.recent + both.far, 1.0, atol=1e-5)
    assert (both.edges, both.tokens) == (long.edges, 72)
    np.testing.assert_allclose(
        both.by_distance[:, :, 2], (short.by_distance + long.by_distance[:, :, :5])[:, :, 2] / 2
    )
    np.testing.assert_allclose(both.by_distance[:, :, 5], long.by_distance[:, :, 5] / 2)
