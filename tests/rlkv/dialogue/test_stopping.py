"""Why an answer stops, and that one side's end leaves the others alone."""

import threading
from typing import Any

import pytest
import torch

from rlkv.dialogue import Control, SideSpec, converse
from rlkv.errors import UserError
from rlkv.generation import Sampling
from tests.rlkv.dialogue.stage import (
    PROMPT,
    TINY_HALF,
    Loaded,
    answer,
    asked,
    ids_of,
    prompt_of,
    small,
)
from tests.rlkv.families import tiny


def test_every_reason_to_stop(tracer: Loaded, little: Loaded) -> None:
    def reason(loaded: Loaded, tokens: int, **options: Any) -> tuple[str | None, int]:
        side = answer(loaded, [None], asked(PROMPT), Sampling(tokens), **options).sides[0]
        return side.stop_reason, side.n_tokens

    assert reason(tracer, 100)[0] == "end"
    assert reason(little, 7) == ("length", 7)
    prompt = len(prompt_of(little[1], asked(PROMPT)))
    narrow = small(max_position_embeddings=prompt + 9)
    assert reason((narrow, little[1]), 100) == ("length", 10)  # the last one is not read
    stuck = small()
    stuck.lm_head.weight.zero_()
    stuck.lm_head.weight[9] = 1.0
    stuck.lm_head.weight[10] = -1.0
    assert reason((stuck, little[1]), 500) == ("repetition", 128)
    assert reason(little, 50, headroom=Full(after=10)) == ("memory", 10)


def test_rotary_positions_go_on_beyond_the_training(little: Loaded) -> None:
    """Asked for, a longer context is read; it is never taken by itself."""
    tokenizer, history = little[1], asked(PROMPT)
    prompt = len(prompt_of(tokenizer, history))
    narrow = small(max_position_embeddings=prompt - 5)
    with pytest.raises(UserError, match=f"reads at most {prompt - 5}"):
        answer((narrow, tokenizer), [None], history, Sampling(50))
    frame = answer(
        (narrow, tokenizer), [None, TINY_HALF], history, Sampling(50), context=prompt + 9
    )
    assert [(s.stop_reason, s.n_tokens) for s in frame.sides] == [("length", 10)] * 2
    wide = answer(little, [None], history, Sampling(10))  # of the same weights
    assert ids_of(frame) == ids_of(wide)


def test_learned_positions_have_an_end(tracer: Loaded) -> None:
    model = tiny("gpt2", vocab_size=155)
    with pytest.raises(UserError, match="learned positions"):
        answer((model, tracer[1]), [None], asked(PROMPT), Sampling(5), context=100_000)


class Full:
    """A machine without room: from a question on, or at some questions."""

    def __init__(self, after: int | None = None, at: tuple[int, ...] = ()) -> None:
        self.after, self.at = after, at
        self.asked: list[int] = []

    def short(self, more: int = 0) -> bool:
        self.asked.append(more)
        n = len(self.asked) - 1
        return n in self.at or (self.after is not None and n >= self.after)


def test_a_side_out_of_memory_lets_the_others_go_on(little: Loaded) -> None:
    """The second side's tenth pass raises what torch raises; its cache is freed."""
    model = little[0]
    calls = 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            torch.empty(1 << 60, dtype=torch.uint8)

    hook = model.register_forward_pre_hook(fail)
    try:
        frame = answer(little, [None, TINY_HALF], asked(PROMPT), Sampling(30))
    finally:
        hook.remove()
    full, compressed = frame.sides
    assert (full.stop_reason, full.n_tokens) == ("length", 30)
    assert (compressed.stop_reason, compressed.n_tokens) == ("memory", 9)
    assert compressed.kv_bytes > 0
    assert ids_of(frame) == ids_of(answer(little, [None], asked(PROMPT), Sampling(30)))


def test_room_is_asked_for_what_the_cache_will_take(little: Loaded) -> None:
    room = Full()
    frame = answer(little, [TINY_HALF], asked(PROMPT), Sampling(20), headroom=room)
    assert sum(room.asked) == frame.sides[0].kv_bytes_formula


def test_where_one_side_ended_only_the_other_has_a_candidate(little: Loaded) -> None:
    """Side 0 runs out of memory before its fourth token; side 1, of the same mask, writes on."""
    frame = answer(little, [None, None], asked(PROMPT), Sampling(8), headroom=Full(at=(6,)))
    assert [(s.stop_reason, s.n_tokens) for s in frame.sides] == [("memory", 3), ("length", 8)]
    assert ids_of(frame, 1)[:3] == ids_of(frame, 0)
    difference = frame.differences[1]
    assert difference is not None
    assert difference.at == frame.common_prefix(1) == 3
    candidate = frame.sides[1].tokens[3]
    name = little[1].decode([candidate.id])  # a special token, which is not part of the text
    assert (candidate.text, difference.tokens) == ("", (None, (candidate.id, name)))
    assert difference.probabilities == ((None, None), (None, candidate.probability))
    assert [token.kl for token in frame.sides[1].tokens] == [0.0] * 3 + [None] * 5


def test_another_events_switch_stops_too(tracer: Loaded) -> None:
    switch = threading.Event()
    control = Control(switch)
    for frame in converse(*tracer, [SideSpec(None, asked(PROMPT))], Sampling(50), control):
        if frame.sides[0].n_tokens == 5:
            switch.set()
    assert control.stopping
    assert (frame.sides[0].stop_reason, frame.sides[0].n_tokens) == ("stopped", 5)
