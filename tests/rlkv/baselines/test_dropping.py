"""H2O and R-KV keep what loops over tokens keep, at true positions and within their bytes."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from rlkv.baselines.budget import LEAST, EqualBytes
from rlkv.baselines.dropping import DroppingCache, DroppingLayer
from rlkv.baselines.h2o import H2OCache, H2OLayer
from rlkv.baselines.rkv import redundancy
from rlkv.cache_layer import Store
from rlkv.errors import UserError
from rlkv.evaluation import methods
from rlkv.generation import end_tokens, prompt_ids
from rlkv.layout import layout_of
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import get_task
from rlkv.training.rollout import Draw, rollouts
from rlkv.training.rollout_cache import WholeCache
from tests.rlkv.baselines.plain import METHODS, Plain, plain_model
from tests.rlkv.families import KV_HEADS, LAYERS, WIDE_HEADS, batch, tiny

LENGTH = 36
CACHES: dict[str, type[DroppingCache]] = {
    key: one.load() for key, one in methods.METHODS.items() if one.family == "dropping"
}
FAMILIES = ["llama", "qwen3", "gpt2", "gemma2", "gpt_oss"]
CHUNKS = {
    "prompt then tokens": [16, *[1] * 20],
    "chunks and tokens": [9, 1, 1, 11, 1, 1, 1, 5, 6],
    "token by token": [1] * LENGTH,
}
PADS = {"no padding": [0, 0], "left padding": [0, 7], "padding over a chunk": [19, 1]}


def reference(kept: float = 0.5, sink: int = 3, recent: int = 7) -> HeadMask:
    return HeadMask.random(LAYERS, KV_HEADS, sparsity=1 - kept, seed=0, sink=sink, recent=recent)


def feed(
    model: PreTrainedModel,
    cache: DroppingCache,
    inputs: dict[str, torch.Tensor],
    chunks: list[int],
    on_step=lambda step: None,
) -> torch.Tensor:
    outs, seen = [], 0
    for step, chunk in enumerate(chunks):
        part = slice(seen, seen + chunk)
        seen += chunk
        out = model(
            input_ids=inputs["input_ids"][:, part],
            attention_mask=inputs["attention_mask"][:, :seen],
            position_ids=inputs["position_ids"][:, part],
            past_key_values=cache,
        )
        outs.append(out.logits)
        on_step(step)
    return torch.cat(outs, dim=1)


def order(layer: DroppingLayer, row: int, head: int, kept: list[int]) -> torch.Tensor:
    """Slots of the tokens of one head in the order of the text."""
    if not isinstance(layer, H2OLayer):
        return torch.arange(len(kept))
    position = layer.position.first(len(kept))[0, row, head, :, 0]
    assert sorted(position.tolist()) == kept
    return position.argsort()


def dropping_layers(cache: DroppingCache) -> list[DroppingLayer]:
    return [layer for layer in cache.layers if isinstance(layer, DroppingLayer)]


@pytest.mark.parametrize(
    ("family", "chunks", "pads"),
    [("llama", chunks, pads) for chunks in CHUNKS for pads in PADS]
    + [(family, "chunks and tokens", "left padding") for family in FAMILIES[1:]],
)
@pytest.mark.parametrize("method", CACHES)
def test_every_head_keeps_what_plain_loops_keep(
    method: str, family: str, chunks: str, pads: str
) -> None:
    """Keys held after every step are those of the same tokens, and the logits are the same."""
    model, inputs = tiny(family), batch(2, LENGTH, PADS[pads])
    cache = CACHES[method](model, reference())
    plain = Plain(METHODS[method], cache.budget, CHUNKS[chunks], inputs["attention_mask"])
    want = plain_model(family, plain)(**inputs, use_cache=False).logits

    def compare(step: int) -> None:
        for layer, rows in zip(dropping_layers(cache), plain.heads, strict=True):
            for row, heads in enumerate(rows):
                for h, head in enumerate(heads):
                    kept = head.steps[step]
                    assert len(kept) == cache.held[row]
                    if kept:
                        held = layer.kv.first(len(kept))[0, row, h, order(layer, row, h, kept)]
                        torch.testing.assert_close(held, head.key[kept], atol=1e-5, rtol=1e-5)

    got = feed(model, cache, inputs, CHUNKS[chunks], compare)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)
    assert all(h < LENGTH - pad for h, pad in zip(cache.held, PADS[pads], strict=True))


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_scores_are_the_attention_of_real_queries(family: str) -> None:
    """Through chunks and tokens; padding gives none, and what was dropped is not inherited."""
    model, inputs, chunks = tiny(family), batch(2, LENGTH, [0, 7]), CHUNKS["chunks and tokens"]
    cache = H2OCache(model, reference())
    plain = Plain(METHODS["h2o"], cache.budget, chunks, inputs["attention_mask"])
    plain_model(family, plain)(**inputs, use_cache=False)
    feed(model, cache, inputs, chunks)
    for layer, rows in zip(dropping_layers(cache), plain.heads, strict=True):
        assert isinstance(layer, H2OLayer)
        for row, heads in enumerate(rows):
            for h, head in enumerate(heads):
                slots = order(layer, row, h, head.held)
                score = layer.score.first(len(head.held))[0, row, h, slots, 0]
                want = torch.tensor([head.got[token] for token in head.held])
                torch.testing.assert_close(score, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", CACHES)
@pytest.mark.parametrize("family", FAMILIES)
def test_with_room_for_everything_it_is_the_full_cache(family: str, method: str) -> None:
    model, inputs = tiny(family), batch(3, LENGTH, [0, 5, 13])
    cache = CACHES[method](model, reference(), budget=lambda length: length + 1)
    got = feed(model, cache, inputs, [20, 5, *[1] * 11])
    want = tiny(family, "stock")(**inputs).logits
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(got[real], want[real], atol=1e-5, rtol=1e-5)
    assert cache.held == [LENGTH, LENGTH - 5, LENGTH - 13]


@pytest.mark.parametrize("method", CACHES)
def test_positions_are_counted_from_tokens_seen(method: str) -> None:
    """Without given positions the model asks the cache: tokens held would be too few."""
    model, inputs = tiny("llama"), batch(1, LENGTH)
    ids = inputs["input_ids"]
    cache, told = (CACHES[method](model, reference()) for _ in range(2))
    got = torch.cat([model(t, past_key_values=cache).logits for t in torch.split(ids, 1, 1)], dim=1)
    torch.testing.assert_close(got, feed(model, told, inputs, [1] * LENGTH))
    assert cache.get_seq_length() == LENGTH > cache.held[0]

    short = CACHES[method](model, reference())
    outs = []
    for token in torch.split(ids, 1, 1):
        at = torch.tensor([[sum(short.held)]])  # the defect: the next position is what is held
        outs.append(model(token, position_ids=at, past_key_values=short).logits)
    assert (torch.cat(outs, dim=1)[:, -5:] - got[:, -5:]).abs().max() > 0.1


def test_scores_of_a_prompt_are_causal() -> None:
    """The last token gets attention from its own queries alone, the first from all."""
    model, inputs = tiny("llama"), batch(1, 12)
    cache = H2OCache(model, reference(), budget=lambda length: 50)
    feed(model, cache, inputs, [12])
    group = 2
    for layer in dropping_layers(cache):
        assert isinstance(layer, H2OLayer)
        score = layer.score.first(12)[0, 0, :, :, 0]
        assert (score[:, -1] < group).all()
        assert (score[:, 0] > group).all()
        torch.testing.assert_close(score.sum(1), torch.full((KV_HEADS,), 12.0 * group))


def test_acausal_scores_would_keep_other_tokens() -> None:
    """The comparison above has power: without the causal mask heads choose otherwise."""
    model, inputs = tiny("llama"), batch(1, LENGTH)
    cache = H2OCache(model, reference(), budget=lambda length: 8)
    queries: list[torch.Tensor] = []
    model(**inputs, past_key_values=cache, rlkv_watch=lambda m, q, k, r, w: queries.extend([q, k]))
    query, key = queries[0][0].view(KV_HEADS, 2, LENGTH, -1), queries[1][0]
    acausal = (query @ key[:, None].transpose(-1, -2) * key.shape[-1] ** -0.5).softmax(-1)
    heavy = acausal.sum((1, 2))[:, : LENGTH - 4].topk(4).indices.sort().values
    layer = dropping_layers(cache)[0]
    assert isinstance(layer, H2OLayer)
    ours = layer.position.first(4)[0, 0, ..., 0]
    assert (ours != heavy).any()


@pytest.mark.parametrize("method", CACHES)
def test_padded_rows_equal_single_rows_and_follow_a_selection(method: str) -> None:
    """Rows leave, return twice and change places in the middle of the text."""
    model, inputs = tiny("qwen3"), batch(3, LENGTH, [0, 5, 13])
    alone = []
    for row, pad in enumerate([0, 5, 13]):
        one = {name: x[row : row + 1, pad:] for name, x in inputs.items()}
        cache = CACHES[method](model, reference())
        alone.append(feed(model, cache, one, [20 - pad, *[1] * 16])[0, -10:])
    cache = CACHES[method](model, reference())
    feed(model, cache, {k: x[:, :26] for k, x in inputs.items()}, [20, *[1] * 6])
    rows = torch.tensor([2, 1, 2])
    cache.batch_select_indices(rows)
    budget = cache.budget(26 - 5)
    assert cache.held == [cache.held[0], cache.held[1], cache.held[0]]
    assert max(cache.held) <= budget
    outs = []
    for column in range(26, LENGTH):
        out = model(
            input_ids=inputs["input_ids"][rows, column : column + 1],
            attention_mask=inputs["attention_mask"][rows, : column + 1],
            position_ids=inputs["position_ids"][rows, column : column + 1],
            past_key_values=cache,
        )
        outs.append(out.logits[:, 0])
    got = torch.stack(outs, dim=1)
    for place, row in enumerate(rows.tolist()):
        torch.testing.assert_close(got[place], alone[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "kept"), [("llama", 1.0), ("llama", 0.5), ("llama", 0.0), ("gpt_oss", 0.5)]
)
@pytest.mark.parametrize("method", CACHES)
def test_bytes_never_exceed_those_of_the_mask(method: str, kept: float, family: str) -> None:
    model, mask = tiny(family), reference(kept, sink=6, recent=30)
    cache = CACHES[method](model, mask)
    head_dim = 16 if family in WIDE_HEADS else 8
    ids = batch(1, 300)["input_ids"]
    seen, used = 0, 0
    for chunk in [6, *[1] * 54, 210, *[1] * 30]:
        model(input_ids=ids[:, seen : seen + chunk], past_key_values=cache, logits_to_keep=1)
        seen += chunk
        used = sum(layer.nbytes for layer in dropping_layers(cache))
        allowed = mask.kv_bytes(seen, head_dim=head_dim, itemsize=4)
        if cache.budget(seen) > LEAST:
            assert used <= allowed
    assert used > 0.85 * allowed  # what may be used is used
    for layer in dropping_layers(cache):
        stores = [value for value in vars(layer).values() if isinstance(value, Store)]
        assert layer.nbytes == sum(store.nbytes for store in stores)
        assert not any(isinstance(value, torch.Tensor) for value in vars(layer).values())
    cache.reset()
    assert cache.nbytes == 0
    assert cache.get_seq_length() == 0


@pytest.mark.parametrize("method", CACHES)
def test_a_row_that_leaves_takes_its_memory_along(method: str) -> None:
    model, mask = tiny("llama"), reference(sink=4, recent=16)
    cache = CACHES[method](model, mask)
    feed(model, cache, batch(2, 90, [0, 40]), [80, *[1] * 10])
    cache.batch_select_indices(torch.tensor([1]))
    assert 0 < cache.nbytes <= mask.kv_bytes(50, head_dim=8, itemsize=4)


def test_the_budget_grows_by_small_steps_and_never_falls() -> None:
    mask = reference()
    for state, fixed in [(8, 0), (0, 512)]:
        budget = EqualBytes(mask, 8, 4, state, fixed)
        found = np.array([budget(n) for n in range(5000)])
        growth = np.diff(found)
        assert growth.min() >= 0
        heads, token = mask.kept.size, 2 * 8 * 4 + state
        allowed = np.array([mask.kv_bytes(n, head_dim=8, itemsize=4) for n in range(5000)])
        real = found > LEAST
        assert (heads * (found * token + fixed) <= allowed)[real].all()
        assert (heads * ((found * 130 // 128 + 2) * token + fixed) > allowed)[real].all()


def test_the_latest_of_similar_keys_is_not_redundant() -> None:
    """Tokens 1, 3 and 4 are alike: the later, the less redundant; the others are not at all."""
    unit = torch.eye(8)
    key = unit[[0, 1, 2, 1, 1, 3]][None, None]
    found = redundancy(key, torch.ones(1, 1, 6, dtype=torch.bool))[0, 0]
    assert found[1] > found[3] > found[4]
    assert found[0] == found[2] == found[4] == found[5]


@pytest.mark.parametrize("method", CACHES)
def test_bfloat16_runs(method: str) -> None:
    model, inputs = tiny("gpt_oss").to(torch.bfloat16), batch(2, LENGTH, [0, 9])
    mask = reference()
    cache = CACHES[method](model, mask)
    got = feed(model, cache, inputs, [20, *[1] * 16])
    assert torch.isfinite(got[inputs["attention_mask"].bool()]).all()
    assert dropping_layers(cache)[0].kv.first(1).dtype == torch.bfloat16
    layout = layout_of(model)
    state = cache.layer_class.state_bytes(layout.layers[layout.gated[0]], itemsize=2)
    assert cache.budget(LENGTH) == EqualBytes(mask, 16, 2, *state)(LENGTH)


@pytest.mark.parametrize("method", CACHES)
def test_rollouts_under_a_dropping_cache(method: str) -> None:
    """With room for everything the answers are those of the whole cache; with half they differ."""
    model, tokenizer = load_model("tracer")
    prompts = [prompt_ids(tokenizer, p.prompt) for p in get_task("tracing").problems(6, seed=3)]
    ends, mask = end_tokens(model, tokenizer), HeadMask.full(4, 8, sink=4, recent=16)

    def answers(new_cache) -> list[list[int]]:
        drawn = rollouts(model, prompts, Draw(112, 0.0), ends, new_cache)
        return [answer.ids for answer in drawn]

    whole = answers(lambda: WholeCache(model))
    roomy = answers(lambda: CACHES[method](model, mask, budget=lambda length: length + 1))
    assert roomy == whole
    assert answers(lambda: CACHES[method](model, mask.at_sparsity(0.5))) != whole


@pytest.mark.parametrize("method", CACHES)
def test_what_cannot_be_served_is_refused(method: str) -> None:
    model = tiny("llama")
    with pytest.raises(UserError, match="this model"):
        CACHES[method](model, HeadMask.full(2, 4))
    cache = CACHES[method](model, reference())
    hole = batch(1, 10)
    hole["attention_mask"][0, 4] = 0
    behind = batch(1, 10)
    behind["attention_mask"][0, 8:] = 0
    for wrong in (hole, behind):
        with pytest.raises(UserError, match="padding on the left"):
            model(**wrong, past_key_values=cache)
    with pytest.raises(UserError, match="greedy decoding or sampling"):
        cache.reorder_cache(torch.tensor([0]))
