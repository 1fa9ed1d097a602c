"""Heads that behave alike."""

from typing import Any

import numpy as np
import pytest
import torch

from rlkv.errors import UserError
from rlkv.explore.likeness import likeness
from rlkv.explore.looking import pattern
from rlkv.explore.probes import ProbeText
from rlkv.explore.similar import Alike, similar
from rlkv.explore.stopping import Stopped
from tests.rlkv.families import batch, tiny


def rows_of_head(weight: torch.Tensor, head: int, size: int) -> torch.Tensor:
    """The rows of a projection that make one KV head, or its query heads."""
    return weight[head * size : (head + 1) * size]


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_a_head_and_its_double_find_each_other(family: str) -> None:
    model = tiny(family)
    attention = [layer.self_attn for layer in model.model.layers][3 if family == "gpt_oss" else 1]
    group = 2 * attention.head_dim
    with torch.no_grad():
        for projection, size in [(attention.q_proj, group), (attention.k_proj, attention.head_dim)]:
            for tensor in (projection.weight, projection.bias):
                if tensor is not None:
                    rows_of_head(tensor, 0, size).copy_(rows_of_head(tensor, 2, size))
        if family == "gpt_oss":
            attention.sinks[:2] = attention.sinks[4:6]
    shared = likeness(model, [batch(1, 30)["input_ids"][0].tolist()])
    for head, double in [(0, 2), (2, 0)]:
        (found,) = similar(shared, 1, head, top=1)
        assert (found.layer, found.head) == (1, double)
        assert found.likeness == pytest.approx(1.0, abs=1e-3)
    assert similar(shared, 1, 0)[1].likeness < 0.98


def test_likeness_is_the_sum_of_roots(tracer: tuple[Any, Any], texts: list[ProbeText]) -> None:
    model, _ = tracer
    ids = texts[0].ids
    shared = likeness(model, [ids])
    assert shared.shape == (4, 8, 4, 8)
    square = shared.reshape(32, 32)
    np.testing.assert_allclose(square, square.T, atol=1e-3)
    np.testing.assert_allclose(square.diagonal(), 1.0, atol=1e-3)
    first, second = (pattern(model, ids, *cell).mean(0) for cell in [(1, 3), (2, 7)])
    half = len(ids) // 2
    queries = np.linspace(half, len(ids) - 1, min(48, len(ids) - half)).astype(int)
    expected = np.sqrt(first * second).sum(1)[queries].mean()
    assert shared[1, 3, 2, 7] == pytest.approx(expected, abs=1e-3)


def test_several_texts_count_by_their_queries(
    tracer: tuple[Any, Any], texts: list[ProbeText]
) -> None:
    model, _ = tracer
    ids = [text.ids for text in texts[:2]]
    both = likeness(model, ids)
    counts = [min(48, len(one) - len(one) // 2) for one in ids]
    alone = [likeness(model, [one]) for one in ids]
    expected = np.average(alone, axis=0, weights=counts)
    np.testing.assert_allclose(both, expected, atol=1e-3)


def test_the_most_alike_come_first_without_the_head_itself() -> None:
    shared = np.zeros((2, 2, 2, 2), dtype=np.float32)
    shared[0, 1] = [[0.5, 1.0], [0.75, 0.25]]
    assert similar(shared, 0, 1, top=2) == [Alike(1, 0, 0.75), Alike(0, 0, 0.5)]
    assert len(similar(shared, 0, 1, top=9)) == 3
    with pytest.raises(UserError, match=r"no head 2.0: there are 2 layers of 2"):
        similar(shared, 2, 0)


def test_it_needs_a_text_and_can_be_stopped(tracer: tuple[Any, Any]) -> None:
    model, _ = tracer
    with pytest.raises(UserError, match="give at least one"):
        likeness(model, [])
    with pytest.raises(Stopped):
        likeness(model, [[5, 6, 7]], stop=lambda: True)
