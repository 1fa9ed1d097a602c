"""The text of each token."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlkv.explore.pieces import pieces
from rlkv.explore.probes import ProbeText


def test_pieces_of_the_embedded_model(tracer: tuple[Any, Any], texts: list[ProbeText]) -> None:
    _, tokenizer = tracer
    found = pieces(tokenizer, texts[0].ids)
    assert len(found) == len(texts[0].ids)
    assert "".join(found) == tokenizer.decode(list(texts[0].ids))
    assert found[0] == "<|user|>"
    assert found[-1] == "<|end|>"


@pytest.fixture
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, as byte-level tokenizers have for rare characters."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_a_character_of_several_tokens_comes_with_the_last(
    byte_tokenizer: PreTrainedTokenizerFast,
) -> None:
    ids = byte_tokenizer("aé €\n!")["input_ids"]
    assert pieces(byte_tokenizer, ids) == ["a", "", "é", " ", "", "", "€", "\n", "!"]
    assert pieces(byte_tokenizer, ids[:-3]) == ["a", "", "é", " ", "", "\ufffd"]
    assert pieces(byte_tokenizer, []) == []
