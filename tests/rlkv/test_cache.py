from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from rlkv.cache import SplitHeadCache
from rlkv.cache_layer import STEP, Store
from rlkv.errors import UserError
from rlkv.masks import HeadMask
from tests.rlkv.families import CONFIGS, KV_HEADS, LAYERS, DensePerHead, batch, tiny

SINK, RECENT = 3, 7
LENGTH = 40

CHUNKS = {
    "one chunk": [LENGTH],
    "two chunks": [25, 15],
    "prompt then tokens": [20, *[1] * 20],
    "short chunks": [7] * 5 + [5],
    "token by token": [1] * LENGTH,
    "turns": [9, 1, 1, 1, 11, 1, 1, 15],
}
PADS = {"no padding": [0, 0, 0], "left padding": [0, 5, 13], "padding over a chunk": [0, 30, 2]}
MASKS = {
    "mixed": [[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
    "half": [[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1]],
    "none kept": [[0] * 4] * 3,
    "all kept": [[1] * 4] * 3,
}


def head_mask(name: str, sink: int = SINK, recent: int = RECENT) -> HeadMask:
    kept = np.array(MASKS[name], dtype=bool)
    return HeadMask(kept.astype(np.float32), kept, sink=sink, recent=recent)


def reference_model(
    family: str, mask: HeadMask, inputs: dict[str, torch.Tensor], **changes: Any
) -> PreTrainedModel:
    """The family's model with dense attention per head, for these inputs alone."""
    reference = DensePerHead(
        torch.from_numpy(mask.kept.copy()), mask.sink, mask.recent, inputs["attention_mask"]
    )
    AttentionInterface.register("dense_reference", reference)
    AttentionMaskInterface.register("dense_reference", sdpa_mask)
    return tiny(family, "dense_reference", **changes)


def dense_logits(family: str, mask: HeadMask, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return reference_model(family, mask, inputs)(**inputs, use_cache=False).logits


def split_logits(
    model: PreTrainedModel,
    cache: SplitHeadCache,
    inputs: dict[str, torch.Tensor],
    chunks: list[int],
) -> torch.Tensor:
    outs, seen = [], 0
    for chunk in chunks:
        part = slice(seen, seen + chunk)
        seen += chunk
        out = model(
            input_ids=inputs["input_ids"][:, part],
            attention_mask=inputs["attention_mask"][:, :seen],
            position_ids=inputs["position_ids"][:, part],
            past_key_values=cache,
        )
        outs.append(out.logits)
    return torch.cat(outs, dim=1)


def assert_dense(
    family: str, mask: HeadMask, inputs: dict[str, torch.Tensor], chunks: list[int]
) -> None:
    """A split cache fed in chunks gives the dense reference's logits."""
    model = tiny(family)
    got = split_logits(model, SplitHeadCache(model, mask), inputs, chunks)
    want = dense_logits(family, mask, inputs)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("pads", PADS)
def test_split_cache_equals_a_dense_mask_per_head(family: str, chunks: str, pads: str) -> None:
    assert_dense(family, head_mask("mixed"), batch(3, LENGTH, PADS[pads]), CHUNKS[chunks])


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("pads", PADS)
def test_so_does_one_that_is_split_in_every_layer(family: str, pads: str) -> None:
    chunks = CHUNKS["prompt then tokens"]
    assert_dense(family, head_mask("half"), batch(3, LENGTH, PADS[pads]), chunks)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_comparison_has_power(family: str) -> None:
    inputs = batch(3, LENGTH)
    full = dense_logits(family, head_mask("all kept"), inputs)
    none = dense_logits(family, head_mask("none kept"), inputs)
    half = dense_logits(family, head_mask("half"), inputs)
    assert (full - none).abs().max() > 0.1
    assert (full - half).abs().max() > 0.1


@pytest.mark.parametrize("family", CONFIGS)
def test_all_kept_equals_the_stock_model(family: str) -> None:
    inputs = batch(3, LENGTH, PADS["left padding"])
    model = tiny(family)
    got = split_logits(
        model, SplitHeadCache(model, head_mask("all kept")), inputs, [20, 10, *[1] * 10]
    )
    want = tiny(family, "stock")(**inputs).logits
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("sink", "recent"), [(0, 1), (0, 5), (4, 1), (50, 3)])
def test_odd_windows(sink: int, recent: int) -> None:
    mask = head_mask("half", sink, recent)
    assert_dense("llama", mask, batch(2, LENGTH, [0, 6]), [11, *[1] * 19, 10])


@pytest.mark.parametrize("kept", MASKS)
@pytest.mark.parametrize("rows", [1, 3])
def test_measured_bytes_follow_the_formula(kept: str, rows: int) -> None:
    model, mask = tiny("llama"), head_mask(kept)
    cache = SplitHeadCache(model, mask)
    inputs = batch(rows, 200)
    head_dim = 64 // 8
    step = 2 * head_dim * 4 * rows * LAYERS * KV_HEADS * STEP
    seen = 0
    for chunk in [6, *[1] * 94, 50, *[1] * 50]:
        model(input_ids=inputs["input_ids"][:, seen : seen + chunk], past_key_values=cache)
        seen += chunk
        formula = mask.kv_bytes(seen, head_dim=head_dim, itemsize=4, batch=rows)
        assert formula <= cache.nbytes < formula + step
    if kept == "none kept":
        assert cache.nbytes == 2 * head_dim * 4 * rows * LAYERS * KV_HEADS * (SINK + RECENT)
    if kept == "all kept":
        assert cache.nbytes == formula  # 200 is a whole number of steps


def test_bytes_are_those_of_tensors_alive_nowhere_else() -> None:
    """No view keeps the evicted part of a long prompt alive."""
    model, mask = tiny("llama"), head_mask("none kept")
    cache = SplitHeadCache(model, mask)
    model(**batch(1, 300), past_key_values=cache)
    stores = [s for layer in cache.layers for s in (layer.ring, layer.full)]
    tensors = [s.data for s in stores if s.data is not None]
    assert len(tensors) == LAYERS
    assert all(t.untyped_storage().nbytes() == t.numel() * t.element_size() for t in tensors)
    assert all(t.shape[3] == SINK + RECENT for t in tensors)


@pytest.mark.parametrize("family", CONFIGS)
def test_generate_and_multi_turn_reuse(family: str) -> None:
    model, mask = tiny(family), head_mask("half")
    first = batch(2, 21, [0, 4])
    cache = SplitHeadCache(model, mask)
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    one = model.generate(
        first["input_ids"], attention_mask=first["attention_mask"], past_key_values=cache, **options
    )
    more = batch(2, 9)["input_ids"]
    talk = torch.cat([one, more], dim=1)
    attention = torch.cat(
        [first["attention_mask"], torch.ones(2, talk.shape[1] - 21, dtype=torch.long)], dim=1
    )
    reused = model.generate(talk, attention_mask=attention, past_key_values=cache, **options)
    fresh = model.generate(
        talk, attention_mask=attention, past_key_values=SplitHeadCache(model, mask), **options
    )
    assert torch.equal(reused, fresh)
    assert cache.get_seq_length() == reused.shape[1] - 1


def test_two_masks_share_one_model() -> None:
    model, inputs = tiny("qwen3"), batch(1, LENGTH)
    masks = [head_mask("half"), head_mask("mixed")]
    caches = [SplitHeadCache(model, mask) for mask in masks]
    steps = [[split_logits_at(model, cache, inputs, i) for cache in caches] for i in range(LENGTH)]
    for i, mask in enumerate(masks):
        got = torch.cat([step[i] for step in steps], dim=1)
        want = dense_logits("qwen3", mask, inputs)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def split_logits_at(
    model: PreTrainedModel, cache: SplitHeadCache, inputs: dict[str, torch.Tensor], i: int
) -> torch.Tensor:
    return model(input_ids=inputs["input_ids"][:, i : i + 1], past_key_values=cache).logits


def test_stock_cache_still_works_on_the_same_model() -> None:
    model, inputs = tiny("mistral"), batch(2, LENGTH, [0, 3])
    cache = DynamicCache(config=model.config)
    got = split_logits(model, cache, inputs, [30, *[1] * 10])
    want = tiny("mistral", "stock")(**inputs).logits
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_oss"])
@pytest.mark.parametrize("chunks", [[LENGTH], [30, 6, 1, 1, 2]])
def test_own_attention_passes_over_padding_between_tokens(family: str, chunks: list[int]) -> None:
    """As rows have it that were padded to one length at every turn."""
    inputs = batch(3, LENGTH, [0, 5, 13])
    attention = inputs["attention_mask"]
    attention[0, 30:35], attention[2, 15:30] = 0, 0
    inputs["position_ids"] = (attention.cumsum(-1) - 1).clamp(min=0)
    model = tiny(family)
    got = split_logits(model, DynamicCache(config=model.config), inputs, chunks)
    want = tiny(family, "stock")(**inputs).logits
    real = attention.bool()
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)


def test_rows_can_be_selected_and_reordered() -> None:
    model, mask = tiny("llama"), head_mask("half")
    inputs = batch(3, LENGTH, [0, 5, 13])
    cache = SplitHeadCache(model, mask)
    split_logits(model, cache, inputs, [30])
    rows = torch.tensor([2, 0])
    cache.batch_select_indices(rows)
    left = {k: v[rows] for k, v in inputs.items()}
    got = [
        model(
            input_ids=left["input_ids"][:, i : i + 1],
            attention_mask=left["attention_mask"][:, : i + 1],
            position_ids=left["position_ids"][:, i : i + 1],
            past_key_values=cache,
        ).logits
        for i in range(30, LENGTH)
    ]
    want = dense_logits("llama", mask, inputs)[rows, 30:]
    torch.testing.assert_close(torch.cat(got, 1), want, atol=1e-5, rtol=1e-5)


def test_reset_frees_and_starts_over() -> None:
    model, mask = tiny("llama"), head_mask("half")
    inputs = batch(2, LENGTH)
    cache = SplitHeadCache(model, mask)
    first = split_logits(model, cache, inputs, [LENGTH])
    cache.reset()
    assert cache.nbytes == 0
    torch.testing.assert_close(split_logits(model, cache, inputs, [LENGTH]), first)


def test_a_mask_of_another_shape_is_refused() -> None:
    model = tiny("llama")
    with pytest.raises(UserError, match=r"2 layers x 4 KV heads but this model has 3 x 4"):
        SplitHeadCache(model, HeadMask.full(2, 4))


def test_a_compressed_cache_cannot_be_cut_back() -> None:
    model = tiny("llama")
    cache = SplitHeadCache(model, head_mask("half"))
    split_logits(model, cache, batch(1, 9), [9])
    with pytest.raises(UserError, match="build a new one"):
        cache.layers[0].crop(-1)


def test_room_to_grow_holds_no_number_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of 0 does not hide it: fresh memory may hold anything."""
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *shape: self.new_full(shape, float("nan"))
    )
    store = Store()
    for tokens in (3, STEP + 1):
        store.reserve(tokens, torch.ones(2, 1, 1, 1, 4))
        assert store.data is not None
        assert store.data.isfinite().all()
