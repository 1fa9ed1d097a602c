"""A GGUF file is the model that it was made of: facts, weights to the bit, words, an answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlkv.dialogue import Message, Sampling, SideSpec, converse
from rlkv.masks import HeadMask
from rlkv.model_facts import read_facts
from rlkv.models import load_model, read_spec
from tests.rlkv.tiny_gguf import CONTEXT, write_gguf

Written = tuple[str, Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The file, and the model that was written into it."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return str(path), write_gguf(path)


def test_its_facts_are_read_without_its_weights(written: Written) -> None:
    path, original = written
    spec, facts = read_spec(path), read_facts(path)
    assert (spec.family, spec.layers, spec.kv_heads) == ("llama", 3, 4)
    assert (facts.context, facts.place, facts.download) == (CONTEXT, "file", 0)
    assert facts.parameters == sum(p.numel() for p in original.parameters())
    assert facts.kv_bytes(100) == spec.kv_bytes(HeadMask.full(3, 4), 100)
    assert facts.need > facts.weights >= 4 * facts.parameters


def test_its_weights_are_those_of_the_model(written: Written) -> None:
    path, original = written
    model, tokenizer = load_model(path)
    ids = tokenizer("the sum of the sea", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == "the sum of the sea"
    assert torch.equal(model(ids).logits.argmax(-1), original(ids).logits.argmax(-1))
    torch.testing.assert_close(model(ids).logits, original(ids).logits, rtol=0, atol=1e-5)


def test_it_answers_with_both_caches(written: Written) -> None:
    model, tokenizer = load_model(written[0])
    mask = HeadMask.random(3, 4, sparsity=0.5, seed=0, sink=2, recent=8)
    history = (Message("user", "What is the sum of the sea and the sky?"),)
    specs = [SideSpec(None, history), SideSpec(mask, history)]
    *_, frame = converse(model, tokenizer, specs, Sampling(30))
    full, compressed = frame.sides
    assert full.n_tokens > 0
    assert compressed.kv_bytes < full.kv_bytes
