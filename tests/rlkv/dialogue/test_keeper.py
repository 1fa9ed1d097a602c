"""Answers with and without kept caches are the same, token for token; memory is bounded."""

import gc

import pytest
import torch

from rlkv.cache import SplitHeadCache
from rlkv.dialogue import Frame, Keeper, SideSpec, converse
from rlkv.generation import Sampling
from rlkv.masks import HeadMask
from tests.rlkv.dialogue.stage import (
    MOST,
    PROMPT,
    SECOND,
    TINY_HALF,
    Loaded,
    answer,
    asked,
    ids_of,
    prompt_of,
    small,
)  # fmt: skip

MASKS = [None, MOST]


def turns(loaded: Loaded, keeper: Keeper | None) -> list[Frame]:
    """Two turns, the second made again with another seed, then another first question."""
    first = answer(loaded, MASKS, asked(PROMPT), Sampling(25), keeper=keeper, conversation="c")
    specs = [
        SideSpec(mask, asked(PROMPT, side.text, SECOND))
        for mask, side in zip(MASKS, first.sides, strict=True)
    ]
    frames = [first]
    for seed in (0, 1, 0):
        sampling = Sampling(25, temperature=1.0, seed=seed)
        *_, frame = converse(*loaded, specs, sampling, keeper=keeper, conversation="c")
        frames.append(frame)
    frames.append(
        answer(loaded, MASKS, asked(SECOND), Sampling(25), keeper=keeper, conversation="c")
    )
    return frames


def test_nothing_changes_but_what_is_read(tracer: Loaded) -> None:
    with_it, without = turns(tracer, Keeper()), turns(tracer, None)
    for kept, fresh in zip(with_it, without, strict=True):
        for i in range(2):
            assert ids_of(kept, i) == ids_of(fresh, i)
            assert kept.sides[i].kv_bytes == fresh.sides[i].kv_bytes
            assert kept.sides[i].text == fresh.sides[i].text
        assert (kept.differences[1] is None) == (fresh.differences[1] is None)
    first, second, again, third, other = with_it
    for i in range(2):
        read = first.sides[i].length
        assert second.sides[i].reused_tokens == read, "the whole first turn"
        assert again.sides[i].reused_tokens == again.sides[i].prompt_tokens, "the whole prompt"
        assert third.sides[i].reused_tokens == third.sides[i].prompt_tokens
        assert first.sides[i].reused_tokens == other.sides[i].reused_tokens == 0
    assert all(side.reused_tokens == 0 for frame in without for side in frame.sides)


def test_only_the_same_is_given_out(little: Loaded) -> None:
    model, tokenizer = little
    keeper, prompt = Keeper(), prompt_of(tokenizer, asked(PROMPT))
    answer(little, [TINY_HALF], asked(PROMPT), Sampling(5), keeper=keeper, conversation="c")
    found = keeper.find("c", model, TINY_HALF, [*prompt, 9])
    assert found is not None
    assert found.ids == tuple(prompt)
    assert keeper.find("d", model, TINY_HALF, prompt) is None
    assert keeper.find("c", small(), TINY_HALF, prompt) is None
    assert keeper.find("c", model, HeadMask.full(3, 4), prompt) is None
    wider = HeadMask(TINY_HALF.scores, TINY_HALF.kept, sink=2, recent=7)
    assert keeper.find("c", model, wider, prompt) is None
    assert keeper.find("c", model, TINY_HALF, [prompt[0] + 1, *prompt[1:]]) is None
    assert keeper.find("c", model, TINY_HALF, prompt[:-1]) is None


def test_copies_go_their_own_way(little: Loaded) -> None:
    model, tokenizer = little
    keeper, prompt = Keeper(), prompt_of(tokenizer, asked(PROMPT))
    frames = [
        answer(little, [TINY_HALF], asked(PROMPT), Sampling(30), keeper=keeper) for _ in range(3)
    ]
    assert ids_of(frames[0]) == ids_of(frames[1]) == ids_of(frames[2])
    found = keeper.find("", model, TINY_HALF, prompt)
    assert found is not None
    assert found.cache.get_seq_length() == len(prompt)


def cache_of(model: object, tokens: int) -> SplitHeadCache:
    cache = SplitHeadCache(model, HeadMask.full(3, 4))
    model(input_ids=torch.full((1, tokens), 9), past_key_values=cache)  # type: ignore[operator]
    return cache


def test_memory_is_bounded_and_can_be_forgotten() -> None:
    model = small()
    size = cache_of(model, 64).nbytes
    keeper = Keeper(max_bytes=3 * size)
    for name in "abcd":
        keeper.keep(name, model, [9] * 64, cache_of(model, 64))
    assert keeper.nbytes == 3 * size
    everything = HeadMask.full(3, 4)
    ids = [9] * 65
    assert keeper.find("a", model, everything, ids) is None, "the oldest had to go"
    assert keeper.find("b", model, everything, ids) is not None, "and is now the latest used"
    keeper.keep("e", model, [9] * 64, cache_of(model, 64))
    assert keeper.find("c", model, everything, ids) is None
    assert keeper.find("b", model, everything, ids) is not None
    keeper.keep("big", model, [9] * 400, cache_of(model, 400))
    assert keeper.nbytes == 3 * size, "one that is too big drives out nothing"
    keeper.forget("b")
    assert keeper.nbytes == 2 * size
    keeper.forget()
    assert keeper.nbytes == 0


def test_a_model_that_is_gone_takes_its_caches_along() -> None:
    model, keeper = small(), Keeper()
    keeper.keep("a", model, [9] * 8, cache_of(model, 8))
    assert keeper.nbytes > 0
    del model
    gc.collect()
    assert keeper.nbytes == 0


def test_kept_caches_make_way_before_an_answer_stops(little: Loaded) -> None:
    keeper = Keeper()
    answer(little, [None], asked(SECOND), Sampling(5), keeper=keeper, conversation="old")
    assert keeper.nbytes > 0

    class Tight:
        """Room as long as nothing is kept."""

        def short(self, more: int = 0) -> bool:
            return keeper.find("old", little[0], HeadMask.full(3, 4),
                               prompt_of(little[1], asked(SECOND))) is not None  # fmt: skip

    frame = answer(little, [None], asked(PROMPT), Sampling(5), keeper=keeper, headroom=Tight())
    assert frame.sides[0].stop_reason == "length"


@pytest.mark.parametrize("limit", [0, 10])
def test_without_room_everything_is_read_again(little: Loaded, limit: int) -> None:
    keeper = Keeper(max_bytes=limit)
    for _ in range(2):
        frame = answer(little, [None], asked(PROMPT), Sampling(5), keeper=keeper)
        assert frame.sides[0].reused_tokens == 0
    assert keeper.nbytes == 0
