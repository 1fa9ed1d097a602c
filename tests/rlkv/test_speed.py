"""The engine's speed, as ratios within one process. `scripts/test --slow` measures them.

Each bar is tried up to three times: other work on the machine can only make a ratio worse.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from rlkv.benchmark.bench import bench
from rlkv.benchmark.rows import Row
from rlkv.gates import attach
from rlkv.layout import layout_of
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.training.rollout import Draw, rollouts
from rlkv.training.rollout_cache import WholeCache

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
TRIES = 6


def best(measure: Callable[[], float], bar: float) -> float:
    """The best of up to `TRIES` measurements, higher being better: neighbours only take away."""
    found = float("-inf")
    for _ in range(TRIES):
        found = max(found, measure())
        if found >= bar:
            break
    return found


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    """Random weights in the shape of SmolLM2-135M."""
    return load_model("random:llama-135m")[0]


def decoding(model: PreTrainedModel, context: int, batch: int = 1) -> Row:
    mask = HeadMask.random(*layout_of(model).shape, sparsity=0.5, seed=0)
    (row,) = bench(
        model, [mask], contexts=[context], batches=[batch], new_tokens=40, with_others=False,
        reads=False,
    )  # fmt: skip
    return row


def test_compressed_decoding_at_8k_beats_the_stock_cache(model: PreTrainedModel) -> None:
    def ratio() -> float:
        row = decoding(model, 8192)
        return row.decode_tokens_per_s / row.decode_tokens_per_s_stock

    assert best(ratio, 1.5) >= 1.5


@pytest.mark.parametrize("context", [128, 1024])
def test_our_full_cache_is_not_slower_than_the_stock_one(
    model: PreTrainedModel, context: int
) -> None:
    """Two percent are the noise of these machines."""

    def ratio() -> float:
        row = decoding(model, context)
        return row.decode_tokens_per_s_full / row.decode_tokens_per_s_stock

    assert best(ratio, 0.98) >= 0.98


def test_attention_reads_only_what_is_kept() -> None:
    """At 4k tokens, eight rows: nine tenths of what the number of keys promises.

    SmolLM2's heads in a model with next to nothing else.
    """
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=72,
        intermediate_size=64,
        num_hidden_layers=6,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=8192,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.requires_grad_(False)

    def share() -> float:
        row = decoding(model, 4096, batch=8)
        return row.attention_speedup / row.attention_speedup_ideal

    assert best(share, 0.9) >= 0.9


def test_a_training_step_through_gates_costs_little_more_than_a_stock_step() -> None:
    """Forward and backward on 2k tokens; the vocabulary, which both share, is left small."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=3,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=4096,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    attach(model, sink=16, recent=64)
    ids = torch.randint(2, 512, (1, 2048))

    def step(attention: str) -> float:
        model.config._attn_implementation = attention
        embedded = model.get_input_embeddings()(ids).detach().requires_grad_(True)
        begun = time.perf_counter()
        model(inputs_embeds=embedded, use_cache=False).logits.square().mean().backward()
        return time.perf_counter() - begun

    def ratio() -> float:
        pairs = [(step("sdpa"), step("rlkv")) for _ in range(6)]
        return statistics.median(stock / ours for stock, ours in pairs[1:])

    assert best(ratio, 1 / 1.35) >= 1 / 1.35


def rollout_share(ref: str, rows: int, new_tokens: int) -> float:
    """Tokens/s of rollouts under half-open gates over those of stock `generate`, in turns.

    Every row goes to the end, so nothing is won by leaving early.
    """
    ours, stock = load_model(ref)[0], load_model(ref)[0]
    stock.set_attn_implementation("sdpa")
    gates = attach(ours, sink=4, recent=16)
    with torch.no_grad():
        gates.values.fill_(0.5)
    ids = torch.randint(3, 150, (rows // 4, 48), generator=torch.Generator().manual_seed(0))
    prompts = [row for row in ids.tolist() for _ in range(4)]
    everything = torch.tensor(prompts)
    options = {"do_sample": True, "top_k": 0, "pad_token_id": 0, "min_new_tokens": new_tokens}
    shares = []
    for _ in range(4):
        begun = time.perf_counter()
        with gates.held():
            rollouts(ours, prompts, Draw(new_tokens), set(), lambda: WholeCache(ours))
        half = time.perf_counter()
        stock.generate(
            everything,
            attention_mask=torch.ones_like(everything),
            max_new_tokens=new_tokens,
            **options,
        )
        shares.append((time.perf_counter() - half) / (half - begun))
    return statistics.median(shares[1:])


@pytest.mark.parametrize(
    ("ref", "rows", "tokens"), [("tracer", 48, 64), ("random:llama-135m", 16, 24)]
)
def test_rollouts_reach_sixty_percent_of_stock_generate(ref: str, rows: int, tokens: int) -> None:
    assert best(lambda: rollout_share(ref, rows, tokens), 0.6) >= 0.6
