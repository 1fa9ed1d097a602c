import threading
from typing import Any

import pytest
import torch

from rlkv.errors import UserError
from rlkv.generation import Sampling, draw, is_repetitive, lockstep
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import get_task
from tests.rlkv.stock import complete

Tracer = tuple[Any, Any]

PROMPT = "c=7; b=6; e:c-b; k:c-e; ?k"
HALF = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16)


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return load_model("tracer")


def test_one_mask_alone_and_in_lockstep_write_the_same(tracer: Tracer) -> None:
    sampling = Sampling(60)
    *_, both = lockstep(*tracer, PROMPT, [None, HALF], sampling)
    for side, mask in zip(both, [None, HALF], strict=True):
        *_, (alone,) = lockstep(*tracer, PROMPT, [mask], sampling)
        assert (alone.text, alone.n_tokens, alone.kv_bytes, alone.stop_reason) == (
            side.text, side.n_tokens, side.kv_bytes, side.stop_reason
        )  # fmt: skip


def test_sides_advance_together_and_bytes_are_real(tracer: Tracer) -> None:
    model, tokenizer = tracer
    seen = list(lockstep(model, tokenizer, PROMPT, [None, HALF], Sampling(40)))
    running = [sides for sides in seen if all(s.stop_reason is None for s in sides)]
    assert len(running) > 10
    assert all(a.n_tokens == b.n_tokens for a, b in running)
    first, second = running[-1]
    assert first.length == second.length
    assert first.kv_bytes > second.kv_bytes
    assert first.kv_bytes >= HeadMask.full(4, 8).kv_bytes(first.length, head_dim=16, itemsize=4)
    assert second.kv_bytes >= HALF.kv_bytes(second.length, head_dim=16, itemsize=4)


def test_the_full_side_solves_it(tracer: Tracer) -> None:
    *_, (side,) = lockstep(*tracer, PROMPT, [None], Sampling(100))
    assert side.stop_reason == "end"
    assert side.text.endswith("</think>k=6")
    assert side.tokens_per_second > 0


def test_stop_ends_after_the_current_token(tracer: Tracer) -> None:
    stop = threading.Event()
    for sides in lockstep(*tracer, PROMPT, [None, HALF], Sampling(100), stop):
        if sides[0].n_tokens == 5:
            stop.set()
    assert [s.stop_reason for s in sides] == ["stopped", "stopped"]
    assert sides[0].n_tokens == 5


def test_length_stops(tracer: Tracer) -> None:
    *_, (side,) = lockstep(*tracer, PROMPT, [None], Sampling(7))
    assert (side.stop_reason, side.n_tokens) == ("length", 7)


def test_sampling_is_seeded_and_shared(tracer: Tracer) -> None:
    def text(seed: int, masks: list[HeadMask | None]) -> list[str]:
        sampling = Sampling(30, temperature=5.0, top_p=0.95, seed=seed)
        *_, sides = lockstep(*tracer, PROMPT, masks, sampling)
        return [side.text for side in sides]

    one, two = text(3, [None, None])
    assert one == two == text(3, [None])[0]
    assert one != text(4, [None])[0]


def test_top_p_leaves_out_the_tail() -> None:
    logits = torch.tensor([[4.0, 3.0, -2.0, -3.0]])
    generator = torch.Generator().manual_seed(0)
    drawn = {
        int(draw(logits, Sampling(1, temperature=1.0, top_p=0.9), generator)) for _ in range(300)
    }
    assert drawn == {0, 1}
    assert int(draw(logits, Sampling(1), generator)) == 0


def test_repetition_is_noticed() -> None:
    assert is_repetitive([1, 2, 3] * 200 + [1] * 200)
    assert not is_repetitive(list(range(400)))
    assert not is_repetitive([1] * 399)


def test_batches_and_lockstep_agree(tracer: Tracer) -> None:
    """Left-padded batches under a mask write what the single runs write."""
    prompts = [p.prompt for p in get_task("tracing").problems(6, seed=5)]
    batch = list(complete(*tracer, prompts, HALF, max_new_tokens=100, batch_size=4))
    for prompt, completion in zip(prompts, batch, strict=True):
        *_, (side,) = lockstep(*tracer, prompt, [HALF], Sampling(100))
        assert side.text == completion.text
    assert all(c.kv_bytes > 0 for c in batch)


@pytest.mark.parametrize(
    ("prompt", "says"), [("  ", "question first"), ("Ünïcode!", "does not know"),
                         ("a=1;" * 600, "at most 1,024")]
)  # fmt: skip
def test_bad_prompts(tracer: Tracer, prompt: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        next(lockstep(*tracer, prompt, [None], Sampling()))


def test_bad_sampling() -> None:
    with pytest.raises(UserError, match="Temperature"):
        Sampling(temperature=-1)
    for odd in (float("nan"), float("inf")):
        with pytest.raises(UserError, match="Temperature must be"):
            Sampling(temperature=odd)
    with pytest.raises(UserError, match="too large: choose one below"):
        Sampling(seed=2**63)
    with pytest.raises(UserError, match="one new token"):
        Sampling(0)


def test_a_mask_of_another_model_is_refused(tracer: Tracer) -> None:
    with pytest.raises(UserError, match="2 layers x 2 KV heads"):
        next(lockstep(*tracer, PROMPT, [HeadMask.full(2, 2)], Sampling()))


@pytest.mark.parametrize(
    "sampling", [Sampling(temperature=1e-320), Sampling(temperature=1.0, top_p=1e-300)]
)
def test_next_to_nothing_is_the_likeliest_token(sampling: Sampling) -> None:
    logits = torch.tensor([[1.0, 3.0, 900.0, 2.0]])
    assert int(draw(logits, sampling, torch.Generator().manual_seed(0))) == 2
