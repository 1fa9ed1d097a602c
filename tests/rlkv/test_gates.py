import pytest
import torch
from transformers import DynamicCache, PreTrainedModel

from rlkv import streaming
from rlkv.attention import rlkv_attention
from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.gates import Gates, attach, detach
from rlkv.grouped import ScoreRule
from rlkv.masks import HeadMask
from rlkv.streaming import StreamingWindow
from tests.rlkv.families import (
    CONFIGS,
    KV_HEADS,
    LAYERS,
    DensePerHead,
    batch,
    streaming_mask,
    tiny,
)
from tests.rlkv.test_cache import dense_logits

SINK, RECENT = 3, 7
PADS = {"no padding": [0, 0, 0], "left padding": [0, 5, 13]}


def gated(family: str, values: torch.Tensor) -> tuple[PreTrainedModel, Gates]:
    model = tiny(family)
    gates = attach(model, sink=SINK, recent=RECENT)
    with torch.no_grad():
        gates.values.copy_(values)
    return model, gates


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("pads", PADS)
def test_all_ones_are_the_stock_model(family: str, pads: str) -> None:
    inputs = batch(3, 40, PADS[pads])
    real = inputs["attention_mask"].bool()
    model, _ = gated(family, torch.ones(LAYERS, KV_HEADS))
    got = model(**inputs).logits
    want = tiny(family, "stock")(**inputs).logits
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("pads", PADS)
def test_all_zeros_are_exact_streaming_attention(family: str, pads: str) -> None:
    inputs = batch(3, 40, PADS[pads])
    real = inputs["attention_mask"].bool()
    model, _ = gated(family, torch.zeros(LAYERS, KV_HEADS))
    got = model(**inputs).logits
    mask = HeadMask.full(LAYERS, KV_HEADS, sink=SINK, recent=RECENT).at_sparsity(1.0)
    want = dense_logits(family, mask, inputs)
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)


def test_one_layer_mixes_two_softmaxes() -> None:
    """`a full + (1 - a) streaming`, computed by hand from the same queries, keys and values."""
    torch.manual_seed(1)
    query = torch.randn(2, 8, 30, 16)
    key, value = torch.randn(2, 2, KV_HEADS, 30, 16)
    attention = torch.ones(2, 30, dtype=torch.long)
    full = DensePerHead(torch.ones(1, KV_HEADS, dtype=torch.bool), SINK, RECENT, attention)
    local = DensePerHead(torch.zeros(1, KV_HEADS, dtype=torch.bool), SINK, RECENT, attention)
    model, gates = gated("llama", torch.rand(LAYERS, KV_HEADS))
    module = model.model.layers[0].self_attn
    got, _ = rlkv_attention(module, query, key, value, None, scaling=0.25)
    a = gates.values[0].repeat_interleave(2)[:, None]
    want = a * full(module, query, key, value, None, 0.25)[0]
    want = want + (1 - a) * local(module, query, key, value, None, 0.25)[0]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_rollout_and_loss_share_one_rule(family: str) -> None:
    """Token by token with a cache gives the logits of one pass without: same attention."""
    inputs = batch(3, 40, PADS["left padding"])
    model, _ = gated(family, torch.rand(LAYERS, KV_HEADS))
    whole = model(**inputs, use_cache=False).logits
    cache, parts = DynamicCache(config=model.config), []
    for at, length in [(0, 20), (20, 5), *[(i, 1) for i in range(25, 40)]]:
        part = slice(at, at + length)
        parts.append(
            model(
                input_ids=inputs["input_ids"][:, part],
                attention_mask=inputs["attention_mask"][:, : at + length],
                position_ids=inputs["position_ids"][:, part],
                past_key_values=cache,
            ).logits
        )
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(torch.cat(parts, 1)[real], whole[real], atol=1e-5, rtol=1e-5)


def test_padding_between_tokens_is_refused() -> None:
    """A window could not tell which tokens are the first, and would count the padding."""
    inputs = batch(2, 40)
    inputs["attention_mask"][0, 10:20] = 0
    model, _ = gated("llama", torch.rand(LAYERS, KV_HEADS))
    with pytest.raises(UserError, match="without padding between"):
        model(**inputs)
    model(**inputs, rlkv_gates={})  # under no gates it is welcome


def test_every_gate_gets_a_gradient_and_the_model_none() -> None:
    model, gates = gated("qwen2", torch.full((LAYERS, KV_HEADS), 0.7))
    model(**batch(2, 40)).logits.square().mean().backward()
    assert gates.values.grad is not None
    assert (gates.values.grad != 0).all()
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trainable == ["rlkv_gates.values"]


def test_the_window_ends_where_it_should() -> None:
    """The rule cell by cell, with rows that start at different columns."""
    attention = batch(2, 20, [0, 4])["attention_mask"]
    column = torch.arange(20)
    position = column - torch.tensor([[0], [4]])
    got = StreamingWindow(SINK, RECENT).visible(position[:, :, None], position[:, None])
    want = streaming_mask(attention, SINK, RECENT)
    real = attention.bool()
    assert torch.equal(got[real], want[real])


@pytest.mark.parametrize("pads", [[0, 0], [0, 3], [11, 17]])
@pytest.mark.parametrize("window", [(0, 1), (0, 7), (3, 7), (9, 4), (40, 2)])
@pytest.mark.parametrize("length", [40, 13])
def test_blocks_of_queries_are_the_rule_by_definition(
    monkeypatch: pytest.MonkeyPatch, pads: list[int], window: tuple[int, int], length: int
) -> None:
    """Each block reads a slice of its own, as those of a long text do."""
    monkeypatch.setattr(streaming, "BLOCK", 5)
    monkeypatch.setattr(streaming, "QUERY_BLOCK", 8)
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 2, 40, 8), *torch.randn(2, 2, 3, 40, 8)
    attention = batch(2, 40, pads)["attention_mask"]
    rule, starts = ScoreRule(), pads if any(pads) else None
    last = query[:, :, :, -length:]
    got = streaming.streaming_attention(last, key, value, StreamingWindow(*window), starts, rule)
    scores = torch.einsum("bhgtd,bhkd->bhgtk", query, key) * 8**-0.5
    visible = streaming_mask(attention, *window)[:, None, None]
    weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)
    want = torch.einsum("bhgtk,bhkd->bhgtd", weights, value)[:, :, :, -length:]
    real = attention.bool()[:, -length:]
    rows = (got - want).abs().amax((1, 2, 4))
    assert rows[real].max() < 1e-5


def test_gates_refuse_a_mask_of_ones_own() -> None:
    model, _ = gated("llama", torch.rand(LAYERS, KV_HEADS))
    own = torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    with pytest.raises(UserError, match="Gates need plain causal attention"):
        model(batch(1, 9)["input_ids"], attention_mask=own)


def test_sharpness_anneals_to_binary() -> None:
    gates = Gates(1, 4, SINK, RECENT)
    with torch.no_grad():
        gates.values.copy_(torch.tensor([[0.1, 0.45, 0.55, 0.9]]))
    assert torch.equal(gates.effective(), gates.values)
    gates.sharpness = 8.0
    torch.testing.assert_close(gates.effective(), torch.tensor([[0.0, 0.1, 0.9, 1.0]]))
    assert gates.penalty().item() == pytest.approx(0.5)


def test_clamp_and_pass_without_gates() -> None:
    inputs = batch(1, 40)
    model, gates = gated("llama", torch.full((LAYERS, KV_HEADS), -0.2))
    gates.clamp_()
    assert gates.values.min() == 0
    off = model(**inputs).logits
    stock = model(**inputs, rlkv_gates={}).logits
    assert (off - stock).abs().max() > 0.1
    torch.testing.assert_close(stock, tiny("llama", "stock")(**inputs).logits)
    torch.testing.assert_close(model(**inputs).logits, off)


def test_detach_leaves_nothing_behind() -> None:
    before = tiny("qwen3").state_dict()
    model, _ = gated("qwen3", torch.zeros(LAYERS, KV_HEADS))
    detach(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    inputs = batch(1, 40)
    torch.testing.assert_close(
        model(**inputs).logits, tiny("qwen3", "stock")(**inputs).logits, atol=1e-6, rtol=1e-6
    )


def test_a_split_cache_goes_before_gates() -> None:
    """The hard mask can be measured while gates are attached."""
    inputs = batch(1, 40)
    mask = HeadMask.random(LAYERS, KV_HEADS, sparsity=0.5, seed=0, sink=SINK, recent=RECENT)
    model, _ = gated("llama", torch.rand(LAYERS, KV_HEADS))
    got = model(**inputs, past_key_values=SplitHeadCache(model, mask)).logits
    torch.testing.assert_close(got, dense_logits("llama", mask, inputs), atol=1e-5, rtol=1e-5)
