"""Long runs, other block sizes, other number formats: still the dense reference."""

from typing import Any

import pytest
import torch

from rlkv import cache as cache_module
from rlkv import grouped, key_parts, streaming
from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from tests.rlkv.families import CONFIGS, batch, tiny
from tests.rlkv.test_cache import (
    CHUNKS,
    LENGTH,
    PADS,
    assert_dense,
    dense_logits,
    head_mask,
    reference_model,
    split_logits,
)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a short text needs many, as a long one does at the real sizes."""
    monkeypatch.setattr(grouped, "QUERY_BLOCK", 8)
    monkeypatch.setattr(key_parts, "MIN_PART", 4)
    monkeypatch.setattr(streaming, "QUERY_BLOCK", 8)
    monkeypatch.setattr(streaming, "BLOCK", 5)
    monkeypatch.setattr(cache_module, "PIECE", 6)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_oss"])
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("pads", PADS)
def test_small_blocks_change_nothing(family: str, chunks: str, pads: str) -> None:
    assert_dense(family, head_mask("mixed"), batch(3, LENGTH, PADS[pads]), CHUNKS[chunks])


@pytest.mark.parametrize("family", CONFIGS)
def test_256_greedy_tokens_are_those_of_the_dense_reference(family: str) -> None:
    """Each token is the reference's choice given all tokens before it, one dense pass for all."""
    prompt = batch(2, 30, [0, 7])
    mask = head_mask("mixed")
    model = tiny(family)
    text = model.generate(
        prompt["input_ids"],
        attention_mask=prompt["attention_mask"],
        past_key_values=SplitHeadCache(model, mask),
        max_new_tokens=256,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert text.shape == (2, 286)
    attention = torch.cat([prompt["attention_mask"], torch.ones(2, 256, dtype=torch.long)], 1)
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    inputs = {"input_ids": text, "attention_mask": attention, "position_ids": positions}
    want = dense_logits(family, mask, inputs)[:, 29:-1].argmax(-1)
    assert torch.equal(text[:, 30:], want)


@pytest.mark.parametrize("family", CONFIGS)
def test_bfloat16_stays_within_two_percent(family: str) -> None:
    """Against the reference in float32 with the same, rounded weights.

    All experts are asked: which ones are chosen would else depend on the last bit.
    """
    inputs = batch(2, LENGTH, [0, 5])
    mask = head_mask("mixed")
    experts: dict[str, Any] = {}
    if hasattr(CONFIGS[family], "num_experts_per_tok"):
        experts["num_experts_per_tok"] = 4
    model = tiny(family, **experts).to(torch.bfloat16)
    got = split_logits(model, SplitHeadCache(model, mask), inputs, CHUNKS["turns"]).float()
    reference = reference_model(family, mask, inputs, **experts)
    reference.load_state_dict(model.state_dict())
    want = reference(**inputs, use_cache=False).logits
    real = inputs["attention_mask"].bool()
    error = (got - want)[real].norm() / want[real].norm()
    assert error <= 0.02


def test_sampling_draws_what_the_stock_model_draws() -> None:
    prompt = batch(2, 21, [0, 4])
    options: dict[str, Any] = {
        "attention_mask": prompt["attention_mask"],
        "max_new_tokens": 40,
        "do_sample": True,
        "top_p": 0.9,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    model, stock = tiny("qwen3"), tiny("qwen3", "stock")
    torch.manual_seed(5)
    cache = SplitHeadCache(model, head_mask("all kept"))
    got = model.generate(prompt["input_ids"], past_key_values=cache, **options)
    torch.manual_seed(5)
    assert torch.equal(got, stock.generate(prompt["input_ids"], **options))


def test_a_chunked_prompt_is_the_same_in_generate() -> None:
    prompt = batch(2, 100, [0, 33])
    model, mask = tiny("llama"), head_mask("half")
    options: dict[str, Any] = {
        "attention_mask": prompt["attention_mask"],
        "max_new_tokens": 12,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    caches = [SplitHeadCache(model, mask) for _ in range(2)]
    whole = model.generate(prompt["input_ids"], past_key_values=caches[0], **options)
    chunked = model.generate(
        prompt["input_ids"], past_key_values=caches[1], prefill_chunk_size=16, **options
    )
    assert torch.equal(whole, chunked)


def test_beam_search_is_refused() -> None:
    model = tiny("llama")
    cache = SplitHeadCache(model, head_mask("half"))
    with pytest.raises(UserError, match=r"Beam search .* use greedy decoding or sampling"):
        model.generate(
            batch(2, 9)["input_ids"],
            past_key_values=cache,
            num_beams=3,
            max_new_tokens=4,
            do_sample=False,
            pad_token_id=0,
        )


def test_a_mask_of_ones_own_is_refused() -> None:
    """A 4-D mask may say anything, which no ring could follow."""
    model = tiny("llama")
    own = torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    with pytest.raises(UserError, match="plain causal attention"):
        model(
            batch(1, 9)["input_ids"],
            attention_mask=own,
            past_key_values=SplitHeadCache(model, head_mask("half")),
        )


@pytest.mark.parametrize("kept", ["half", "all kept", "none kept"])
def test_padding_after_real_tokens_is_refused(kept: str) -> None:
    """In a second turn padded to one length it lies in the middle of the conversation."""
    model = tiny("llama")
    cache = SplitHeadCache(model, head_mask(kept))
    first, talk = batch(2, 9), batch(2, 18, [0, 4])
    model(**first, past_key_values=cache)
    attention = torch.cat([first["attention_mask"], talk["attention_mask"][:, :9]], 1)
    with pytest.raises(UserError, match="padding on the left only"):
        model(talk["input_ids"][:, :9], attention_mask=attention, past_key_values=cache)
    behind = batch(2, 9)
    behind["attention_mask"][1, 6:] = 0
    with pytest.raises(UserError, match="padding on the left only"):
        model(**behind, past_key_values=SplitHeadCache(model, head_mask(kept)))


def test_a_fork_at_a_turn_saves_the_conversation() -> None:
    """Another second message: only that is read, and the answer is that of a fresh start."""
    model, mask = tiny("gpt_oss"), head_mask("half")
    first, second, other = (batch(rows, 20)["input_ids"][:1] for rows in (1, 2, 3))
    cache = SplitHeadCache(model, mask)
    model(first, past_key_values=cache)
    turn = cache.fork()
    model(second, past_key_values=cache)
    got = model(other, past_key_values=turn).logits
    fresh = SplitHeadCache(model, mask)
    want = model(torch.cat([first, other], 1), past_key_values=fresh).logits[:, 20:]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    assert turn.nbytes == fresh.nbytes
    assert turn.get_seq_length() == 40
