"""LongRoPE: a cache holds keys of one set of frequencies, and says so where they would be mixed."""

from typing import Any

import pytest
import torch
from transformers import Gemma3TextConfig, PreTrainedModel

from rlkv.baselines.h2o import H2OCache
from rlkv.cache import SplitHeadCache
from rlkv.cache_layer import CountingCache
from rlkv.errors import UserError
from rlkv.models import max_length
from rlkv.training.rollout_cache import WholeCache
from rlkv.turning_positions import turns_at
from tests.rlkv.families import CONFIGS, batch, tiny
from tests.rlkv.test_cache import head_mask

LIMIT = 32
ROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "factor": 16.0,
    "original_max_position_embeddings": LIMIT,
}


@pytest.fixture
def model() -> PreTrainedModel:
    return tiny("phi3", original_max_position_embeddings=LIMIT, rope_parameters=ROPE)


def test_such_a_model_reads_up_to_where_its_keys_turn(model: PreTrainedModel) -> None:
    assert turns_at(model.config) == LIMIT
    assert max_length(model.config) == LIMIT
    assert turns_at(CONFIGS["phi3"]) is None
    assert max_length(CONFIGS["phi3"]) == 512
    by_kind = Gemma3TextConfig(rope_parameters={"full_attention": ROPE})
    assert turns_at(by_kind) == LIMIT


@pytest.mark.parametrize("kind", ["split", "whole", "dropping"])
def test_a_cache_up_to_there_is_exact_and_beyond_it_refuses(
    kind: str, model: PreTrainedModel
) -> None:
    mask = head_mask("all kept")
    cache: CountingCache
    if kind == "split":
        cache = SplitHeadCache(model, mask)
    elif kind == "whole":
        cache = WholeCache(model)
    else:
        cache = H2OCache(model, mask, budget=lambda length: length)
    ids = batch(1, LIMIT + 8)["input_ids"]
    parts = torch.split(ids[:, :LIMIT], 16, dim=1)
    got = torch.cat([model(part, past_key_values=cache).logits for part in parts], 1)
    want = model(ids[:, :LIMIT], use_cache=False).logits
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"Beyond 32 tokens .* keep prompt and answer shorter"):
        model(ids[:, LIMIT:], past_key_values=cache)


def test_a_text_that_begins_beyond_goes_on(model: PreTrainedModel) -> None:
    """Read in one pass, all its keys are of the second set."""
    cache = SplitHeadCache(model, head_mask("all kept"))
    ids = batch(1, LIMIT + 12)["input_ids"]
    parts = torch.split(ids, [LIMIT + 8, 4], dim=1)
    got = torch.cat([model(part, past_key_values=cache).logits for part in parts], 1)
    want = model(ids, use_cache=False).logits
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
