"""Attention weights as the layers use them, in every kind of decoder."""

from typing import Any

import numpy as np
import pytest
import torch

from rlkv import gates
from rlkv.errors import UserError
from rlkv.explore.looking import pattern
from rlkv.explore.watching import Attention, observe, rows_of
from rlkv.gates import Gates
from rlkv.layout import layout_of
from tests.rlkv.families import CONFIGS, KV_HEADS, LAYERS, batch, tiny

LENGTH = 24


def eager(model: Any, ids: list[int]) -> list[np.ndarray[Any, Any]]:
    """transformers' own weights `[kv_heads, G, T, T]` of the layers with full attention."""
    layout = layout_of(model)
    out = model(torch.tensor([ids]), output_attentions=True, use_cache=False)
    shape = (KV_HEADS, -1, len(ids), len(ids))
    return [out.attentions[index][0].reshape(shape).numpy() for index in layout.gated]


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_patterns_are_those_of_transformers_own_attention(family: str) -> None:
    ids = batch(1, LENGTH)["input_ids"][0].tolist()
    model, stock = tiny(family), tiny(family, "eager")
    expected = eager(stock, ids)
    assert len(expected) == LAYERS
    for layer in range(LAYERS):
        for head in range(KV_HEADS):
            found = pattern(model, ids, layer, head)
            np.testing.assert_allclose(found, expected[layer][head], atol=2e-5)
            sums = found.sum(-1)
            if family == "gpt_oss":  # learned sink logits take the rest
                assert (sums < 1.0).all()
            else:
                np.testing.assert_allclose(sums, 1.0, atol=1e-5)
            assert not np.triu(found[0], 1).any()


def test_blocks_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = batch(1, LENGTH)["input_ids"][0].tolist()
    model = tiny("gemma2")
    whole = pattern(model, ids, 1, 2)
    monkeypatch.setattr("rlkv.explore.watching.BLOCK_NUMBERS", 5 * 2 * LENGTH)
    np.testing.assert_allclose(pattern(model, ids, 1, 2), whole, atol=1e-6)


def test_layers_are_shown_in_order_and_no_further_than_asked() -> None:
    ids = batch(1, LENGTH)["input_ids"][0].tolist()
    rows: list[int] = []

    def see(row: int, attention: Attention) -> None:
        assert attention.query.shape == (KV_HEADS, 2, LENGTH, 16)
        rows.append(row)

    observe(tiny("gemma3"), ids, see)
    observe(tiny("gemma3"), ids, see, last_row=1)
    assert rows == [0, 1, 2, 0, 1]


def test_looking_on_changes_nothing() -> None:
    model, ids = tiny("gpt_oss"), batch(1, LENGTH)["input_ids"]
    before = model(ids).logits
    pattern(model, ids[0].tolist(), 1, 1)
    assert torch.equal(model(ids).logits, before)
    watched = model(ids, rlkv_watch=lambda *seen: None).logits
    assert torch.equal(watched, before)


def test_gates_for_one_pass_are_as_attached_ones_and_leave_the_model_alone() -> None:
    model, ids = tiny("gemma2"), batch(1, LENGTH)["input_ids"]
    plain = model(ids).logits
    passed = Gates(LAYERS, KV_HEADS, 2, 5)
    with torch.no_grad():
        passed.values.uniform_(generator=torch.Generator().manual_seed(1))
    given = {module: (passed, row) for module, row in rows_of(model).items()}
    once = model(ids, rlkv_gates=given).logits.detach()
    assert torch.equal(model(ids).logits, plain)
    assert (once - plain).abs().max() > 1e-3
    attached = gates.attach(model, sink=2, recent=5)
    with torch.no_grad():
        attached.values.copy_(passed.values)
        torch.testing.assert_close(model(ids).logits, once)
        attached.values.fill_(0.0)
        torch.testing.assert_close(model(ids, rlkv_gates=given).logits, once)
        torch.testing.assert_close(model(ids, rlkv_gates={}).logits, plain)


def test_a_model_that_shows_nothing_is_refused() -> None:
    model = tiny("llama")
    forward = model.forward

    def deaf(input_ids: torch.Tensor, **kwargs: object) -> Any:
        return forward(input_ids)

    model.forward = deaf
    with pytest.raises(UserError, match="does not show its attention"):
        pattern(model, [5, 6, 7], 0, 0)


@pytest.mark.parametrize(
    ("ids", "cell", "message"),
    [
        ([], (0, 0), "Write a text first"),
        ([5] * 513, (0, 0), "513 tokens but the model reads at most 512"),
        ([5, 6], (3, 0), "no head 3.0: this model has 3 layers of 4"),
        ([5, 6], (0, -1), "no head 0.-1"),
    ],
)
def test_mistakes_are_named(ids: list[int], cell: tuple[int, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pattern(tiny("llama"), ids, *cell)
