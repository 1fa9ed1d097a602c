"""Answers side by side are those of the stock library, and what is said of them is measured."""

import gc
import weakref
from typing import Any

import pytest
import torch

from rlkv.cache import SplitHeadCache
from rlkv.dialogue import Control, Message, SideSpec, converse, run
from rlkv.errors import UserError
from rlkv.generation import Sampling
from rlkv.masks import HeadMask
from tests.rlkv.dialogue.stage import (
    HALF,
    MOST,
    PROMPT,
    SECOND,
    TINY_HALF,
    TINY_OTHER,
    Loaded,
    answer,
    asked,
    ids_of,
    log_p_after,
    prompt_of,
    small,
)  # fmt: skip


def test_two_turns_of_the_full_side_are_those_of_stock_generate(little: Loaded) -> None:
    stock = small("stock")
    history = asked(PROMPT)
    for _ in range(2):
        frame = answer(little, [None], history, Sampling(25))
        ids = torch.tensor([prompt_of(little[1], history)])
        out = stock.generate(ids, max_new_tokens=25, do_sample=False, eos_token_id=4)
        assert ids_of(frame) == out[0, ids.shape[1] :].tolist()
        history = asked(PROMPT, frame.sides[0].text, SECOND)


def test_turns_under_a_mask_are_those_of_its_cache(tracer: Loaded) -> None:
    """Each side goes on from its own answer."""
    model, tokenizer = tracer
    masks = [None, HALF, MOST]
    first = answer(tracer, masks, asked(PROMPT), Sampling(40))
    specs = [
        SideSpec(mask, asked(PROMPT, side.text, SECOND))
        for mask, side in zip(masks, first.sides, strict=True)
    ]
    *_, second = converse(model, tokenizer, specs, Sampling(40))
    for i, spec in enumerate(specs):
        ids = torch.tensor([prompt_of(tokenizer, spec.history)])
        cache = SplitHeadCache(model, spec.mask or HeadMask.full(4, 8))
        out = model.generate(ids, past_key_values=cache, max_new_tokens=40, do_sample=False)
        assert ids_of(second, i) == out[0, ids.shape[1] :].tolist()
        assert second.sides[i].kv_bytes == cache.nbytes
        assert second.sides[i].length == cache.get_seq_length() == ids.shape[1] + len(
            ids_of(second, i)
        ) - 1  # fmt: skip


def test_difference_probabilities_and_divergence_by_brute_force(tracer: Loaded) -> None:
    model, tokenizer = tracer
    masks = [None, HALF, MOST]
    frame = answer(tracer, masks, asked(PROMPT), Sampling(60))
    prompt = prompt_of(tokenizer, asked(PROMPT))
    ids = [ids_of(frame, i) for i in range(3)]
    parted = 0
    for i, mask in enumerate(masks):
        same = next(
            (n for n, (a, b) in enumerate(zip(ids[0], ids[i], strict=False)) if a != b), None
        )
        assert frame.common_prefix(i) == (len(ids[i]) if same is None else same)
        for n in range(0, len(ids[i]), 3):
            seen = frame.sides[i].tokens[n]
            own = log_p_after(model, mask, prompt + ids[i][:n])
            assert seen.probability == pytest.approx(float(own[seen.id].exp()), abs=1e-4)
            if i == 0 or (same is not None and n > same):
                assert seen.kl is None
                continue
            full = log_p_after(model, None, prompt + ids[0][:n])
            expected = float((full.exp() * (full - own)).sum())
            assert seen.kl == pytest.approx(expected, rel=0.01, abs=1e-5)
        difference = frame.differences[i]
        if same is None:
            assert difference is None
            continue
        parted += 1
        assert difference is not None
        assert difference.at == same
        a, b = ids[0][same], ids[i][same]
        assert [c and c[0] for c in difference.tokens] == [a, b]
        assert difference.probabilities is not None
        for shown, under in zip(difference.probabilities, (None, mask), strict=True):
            log_p = log_p_after(model, under, prompt + ids[0][:same])
            assert shown == pytest.approx((float(log_p[a].exp()), float(log_p[b].exp())), abs=1e-4)
    assert parted, "the masks are too mild for this test"


def test_the_same_mask_twice_never_differs_while_sampling(little: Loaded) -> None:
    sampling = Sampling(60, temperature=1.5, top_p=0.9, seed=7)
    frame = answer(little, [TINY_HALF, TINY_HALF, None], asked(PROMPT), sampling)
    assert frame.differences[1] is None
    assert ids_of(frame, 1) == ids_of(frame, 0)
    assert [token.kl for token in frame.sides[1].tokens] == [0.0] * 60
    assert frame.differences[2] is not None
    other = answer(little, [TINY_HALF], asked(PROMPT), Sampling(60, 1.5, 0.9, seed=8))
    assert ids_of(other) != ids_of(frame, 0)


def test_a_mask_changed_on_the_way_is_read_again_exactly(little: Loaded) -> None:
    """From the break on, the side is what a run under the new mask makes of the same text."""
    model, tokenizer = little
    control = Control()
    frames = []
    sides = [SideSpec(None, asked(PROMPT)), SideSpec(TINY_HALF, asked(PROMPT))]
    for frame in converse(model, tokenizer, sides, Sampling(40), control):
        frames.append(frame)
        if frame.sides[1].n_tokens == 15:
            control.change(1, TINY_OTHER)
    last, ids = frames[-1], ids_of(frames[-1], 1)
    prompt = prompt_of(tokenizer, asked(PROMPT))
    (mark,) = last.sides[1].breaks
    assert (mark.at, mark.length, mark.mask) == (15, len(prompt) + 15, TINY_OTHER)
    assert mark.seconds > 0
    assert last.sides[0].breaks == ()
    assert ids_of(last, 0) == ids_of(answer(little, [None], asked(PROMPT), Sampling(40)))
    before = answer(little, [TINY_HALF], asked(PROMPT), Sampling(15))
    assert ids[:15] == ids_of(before)
    cache = SplitHeadCache(model, TINY_OTHER)
    out = model.generate(
        torch.tensor([prompt + ids[:15]]), past_key_values=cache, max_new_tokens=25,
        do_sample=False, eos_token_id=4,
    )  # fmt: skip
    assert ids[15:] == out[0, len(prompt) + 15 :].tolist()
    assert last.sides[1].kv_bytes == cache.nbytes


def test_a_change_during_a_long_prompt_begins_it_again(little: Loaded) -> None:
    model, tokenizer = small(max_position_embeddings=4096), little[1]
    history = asked("a=1;" * 600)
    control = Control()
    steps = converse(model, tokenizer, [SideSpec(None, history)], Sampling(3), control)
    assert (first := next(steps)).sides[0].length == 512
    assert first.sides[0].is_reading
    control.change(0, TINY_HALF)
    lengths = [frame.sides[0].length for frame in steps]
    assert lengths[:3] == [512, 1024, 1203]
    last = answer((model, tokenizer), [TINY_HALF], history, Sampling(3))
    *_, frame = converse(model, tokenizer, [SideSpec(None, history)], Sampling(3), _pressed())
    assert ids_of(frame) == ids_of(last)
    assert frame.sides[0].breaks[0].at == 0


def _pressed() -> Control:
    control = Control()
    control.change(0, TINY_HALF)
    return control


def test_a_long_prompt_is_read_in_sight_and_stops_between_chunks(little: Loaded) -> None:
    loaded = small(max_position_embeddings=4096), little[1]
    history = asked("a=1;" * 600)
    control = Control()
    seen = []
    for frame in converse(*loaded, [SideSpec(None, history)] * 2, Sampling(3), control):
        seen.append(tuple(side.length for side in frame.sides))
        if len(seen) == 2:
            control.stop()
    assert seen == [(512, 512), (1024, 1024), (1024, 1024)]
    assert [side.stop_reason for side in frame.sides] == ["stopped", "stopped"]
    assert frame.sides[0].n_tokens == 0
    assert frame.sides[0].to_read == 1203


def test_sides_with_other_earlier_answers_have_nothing_to_compare(tracer: Loaded) -> None:
    sides = [
        SideSpec(None, asked(PROMPT, "k=6", SECOND)),
        SideSpec(HALF, asked(PROMPT, "k=5", SECOND)),
    ]
    *_, frame = converse(*tracer, sides, Sampling(60))
    assert all(token.kl is None for token in frame.sides[1].tokens)
    difference = frame.differences[1]
    assert difference is None or difference.probabilities is None


def test_frames_stay_as_they_were(tracer: Loaded) -> None:
    frames = list(converse(*tracer, [SideSpec(HALF, asked(PROMPT))], Sampling(30)))
    for n, frame in enumerate(frames, 1):
        side = frame.sides[0]
        assert side.n_tokens == len(side.tokens) == n
        assert side.text == "<think>" + "".join(token.text for token in side.tokens)
        assert side.tokens[-1] is side.tokens[n - 1]
        with pytest.raises(IndexError):
            side.tokens[n]
    assert frames[-1].sides[0].tokens_per_second > 0
    assert frames[-1].sides[0].first_token_seconds > 0


def test_text_is_what_the_tokeniser_makes_of_all_tokens(tracer: Loaded) -> None:
    side = answer(tracer, [None], asked(PROMPT), Sampling(100)).sides[0]
    ids = [token.id for token in side.tokens]
    assert side.text == "<think>" + tracer[1].decode(ids, skip_special_tokens=True)
    assert side.text.endswith("</think>k=6")


def test_closing_frees_the_caches(tracer: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[SplitHeadCache]] = []

    class Seen(SplitHeadCache):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(weakref.ref(self))

    monkeypatch.setattr(run, "SplitHeadCache", Seen)
    steps = converse(*tracer, [SideSpec(None, asked(PROMPT)), SideSpec(HALF, asked(PROMPT))],
                     Sampling(50))  # fmt: skip
    frame = next(steps)
    assert len(made) == 2
    assert all(ref() is not None for ref in made)
    steps.close()
    gc.collect()
    assert all(ref() is None for ref in made)
    assert frame.sides[0].kv_bytes > 0


@pytest.mark.parametrize("count", [0, 5])
def test_the_number_of_sides_is_bounded(tracer: Loaded, count: int) -> None:
    with pytest.raises(UserError, match="one and 4 sides"):
        next(converse(*tracer, [SideSpec(None, asked(PROMPT))] * count, Sampling()))


def test_a_mask_of_another_model_is_refused(tracer: Loaded) -> None:
    control = Control()
    control.change(0, HeadMask.full(2, 2))
    wrong = SideSpec(HeadMask.full(2, 2), (Message("user", PROMPT),))
    with pytest.raises(UserError, match="2 layers x 2 KV heads"):
        next(converse(*tracer, [wrong], Sampling()))
    with pytest.raises(UserError, match="2 layers x 2 KV heads"):
        next(converse(*tracer, [SideSpec(None, asked(PROMPT))], Sampling(), control))
