"""Pieces joined are the text, whatever the tokeniser; characters come whole."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlkv.dialogue.pieces import UNFINISHED, Pieces
from tests.rlkv.dialogue.stage import Loaded
from tests.rlkv.dialogue.tokenisers import byte_fallback, byte_level

TEXTS = [
    "the sum is 7 , the sum .",
    "日本語日本語日本語 the 日本語",
    "naïve - 👩‍🚀 and 🏴󠁧󠁢󠁳󠁣󠁴󠁿.",
]
MAKERS = [byte_level, byte_fallback]


def whole(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def pieces_of(tokenizer: Any, ids: list[int]) -> list[str]:
    pieces = Pieces(tokenizer)
    return [pieces.add(token, last=n == len(ids)) for n, token in enumerate(ids, 1)]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("text", TEXTS)
def test_joined_they_are_the_text(maker: Any, text: str) -> None:
    tokenizer = maker()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > 5
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces) == whole(tokenizer, ids) == text
    assert not any(UNFINISHED in piece for piece in pieces)


@pytest.mark.parametrize("maker", MAKERS)
def test_any_text_survives(maker: Any) -> None:
    tokenizer = maker()

    @settings(max_examples=60, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=40))
    def check(text: str) -> None:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert "".join(pieces_of(tokenizer, ids)) == whole(tokenizer, ids)

    check()


def test_the_embedded_tokenisers_rules_look_at_neighbours(tracer: Loaded) -> None:
    tokenizer = tracer[1]
    ids = tokenizer("a=3;b=4c=5;a+b;7-6=1;e=1", add_special_tokens=False)["input_ids"]
    assert "".join(pieces_of(tokenizer, ids)) == whole(tokenizer, ids)


def test_special_tokens_add_nothing_but_have_a_name(tracer: Loaded) -> None:
    pieces = Pieces(tracer[1])
    assert pieces.name(4) == "<|end|>"
    assert pieces.add(4) == ""
    assert pieces.name(5) == "<think>"
    assert pieces.add(5) == "<think>"


def test_a_character_cut_off_is_shown_at_the_end() -> None:
    tokenizer = byte_level()
    ids = tokenizer("a€", add_special_tokens=False)["input_ids"][:-1]
    assert pieces_of(tokenizer, ids) == ["a", "", UNFINISHED] == [*whole(tokenizer, ids)[:1], "",
                                                                 UNFINISHED]  # fmt: skip


def test_bytes_that_never_become_a_character_are_not_held_back_for_ever() -> None:
    tokenizer = byte_level()
    broken = tokenizer("€", add_special_tokens=False)["input_ids"][0]
    pieces = pieces_of(tokenizer, [broken] * 40)
    assert sum(map(len, pieces)) >= 30


@pytest.mark.clock
def test_a_long_text_does_not_get_slower() -> None:
    tokenizer = byte_level()
    ids = tokenizer("the sum is 日本. " * 400, add_special_tokens=False)["input_ids"]
    pieces = Pieces(tokenizer)
    times = []
    for part in (ids[:1000], ids[1000:-1000], ids[-1000:]):
        begin = time.perf_counter()
        for token in part:
            pieces.add(token)
        times.append(time.perf_counter() - begin)
    assert times[-1] < 3 * times[0]
