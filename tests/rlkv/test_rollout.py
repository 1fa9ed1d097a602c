import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from rlkv import gates as gates_module
from rlkv.baselines.h2o import H2OCache
from rlkv.baselines.rkv import RKVCache
from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.generation import end_tokens, is_repetitive, prompt_ids
from rlkv.masks import HeadMask
from rlkv.models import load_model, model_spec
from rlkv.tasks import get_task
from rlkv.training.rollout import Draw, Rollout, drawn, rollouts
from rlkv.training.rollout_cache import WholeCache
from tests.rlkv.families import CONFIGS, tiny
from tests.rlkv.stock import complete


@pytest.fixture(scope="module")
def tracer():
    return load_model("tracer")


def _prompts(tokenizer, n: int) -> list[list[int]]:
    return [prompt_ids(tokenizer, p.prompt) for p in get_task("tracing").problems(n, seed=3)]


def test_greedy_answers_are_those_of_generate(tracer) -> None:
    model, tokenizer = tracer
    problems = get_task("tracing").problems(12, seed=3)
    ends = end_tokens(model, tokenizer)
    found = rollouts(
        model, _prompts(tokenizer, 12), Draw(112, 0.0), ends, lambda: WholeCache(model)
    )
    stock = complete(model, tokenizer, [p.prompt for p in problems], None, max_new_tokens=112)
    texts = tokenizer.batch_decode([r.ids for r in found], skip_special_tokens=True)
    assert texts == [answer.text for answer in stock]
    assert {r.stop_reason for r in found} == {"end"}
    assert len({len(r.ids) for r in found}) > 1  # rows left the batch at different times


def test_greedy_answers_under_a_mask_are_those_of_generate(tracer) -> None:
    model, tokenizer = tracer
    problems = get_task("tracing").problems(8, seed=3)
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16)
    found = rollouts(
        model,
        _prompts(tokenizer, 8),
        Draw(112, 0.0),
        end_tokens(model, tokenizer),
        lambda: SplitHeadCache(model, mask),
        rows_at_once=3,
    )
    stock = complete(model, tokenizer, [p.prompt for p in problems], mask, max_new_tokens=112)
    texts = tokenizer.batch_decode([r.ids for r in found], skip_special_tokens=True)
    assert texts == [answer.text for answer in stock]


@torch.no_grad()
def _read_again(model: PreTrainedModel, prompt: Sequence[int], rollout: Rollout, t: float):
    ids = torch.tensor([[*prompt, *rollout.ids]])
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    return (logits / t).log_softmax(-1).gather(-1, ids[0, len(prompt) :, None])[:, 0]


@pytest.mark.parametrize("family", CONFIGS)
def test_log_probabilities_are_those_of_one_pass_over_the_text(family: str) -> None:
    """In every kind of model, under half-open gates, with prompts of different lengths."""
    model = tiny(family, "stock")
    gates = gates_module.attach(model, sink=2, recent=5)
    with torch.no_grad():
        gates.values.uniform_(0.2, 0.9)
    torch.manual_seed(0)
    prompts = [torch.randint(3, 60, (n,)).tolist() for n in (5, 5, 14, 9)]
    prompts[1] = prompts[0]
    with gates.held():
        found = rollouts(model, prompts, Draw(20, 0.8), set(), lambda: WholeCache(model))
    for prompt, rollout in zip(prompts, found, strict=True):
        assert len(rollout.ids) == 20
        again = _read_again(model, prompt, rollout, 0.8)
        assert torch.allclose(torch.tensor(rollout.logprobs), again, atol=1e-4)
    assert found[0].ids != found[1].ids  # the same prompt, drawn twice


def test_a_stuck_row_leaves_early() -> None:
    assert not is_repetitive([1, 2, 3] * 20)
    loop = [7, 8] * 64
    assert is_repetitive(loop)
    assert not is_repetitive(list(range(128)))
    assert not is_repetitive([*loop, 1])  # looked at every 32 tokens
    varied = [i % 41 for i in range(400)]
    assert not is_repetitive(varied)
    assert is_repetitive([i * i % 39 for i in range(400)])


def test_a_looping_model_is_stopped(tracer) -> None:
    model = tiny("llama", "stock")
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every logit equal: greedy repeats token 0 for ever
    found = rollouts(model, [[5, 6, 7]], Draw(1000, 0.0), {1}, lambda: WholeCache(model))
    assert found[0].stop_reason == "repetition"
    assert len(found[0].ids) == 128


def test_top_k_and_top_p_cut_what_is_drawn_not_what_is_reported() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[3.0, 2.9, 0.0, -1.0]]).repeat(200, 1)
    for draw in (Draw(1, 1.0, top_k=2), Draw(1, 1.0, top_p=0.9)):
        tokens, logprobs = drawn(logits, draw)
        assert set(tokens.tolist()) == {0, 1}
        whole = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
        assert torch.equal(logprobs, whole)


def test_top_p_is_a_share_of_what_top_k_leaves() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.1, 0.1]]).log().repeat(50, 1)
    draw = Draw(1, 1.0, top_k=2, top_p=0.6)  # 0.5 of 0.8 is more than that
    numbers = torch.linspace(0, 0.99, 50)
    assert set(drawn(logits, draw, numbers)[0].tolist()) == {0}


@pytest.mark.parametrize("draw", [Draw(1, 1e-320), Draw(1, 1.0, top_p=1e-300)])
@pytest.mark.parametrize("numbers", [None, torch.tensor([0.0]), torch.tensor([0.99])])
def test_next_to_nothing_is_the_likeliest_token(draw: Draw, numbers: torch.Tensor | None) -> None:
    tokens, logprobs = drawn(torch.tensor([[1.0, 3.0, 900.0, 2.0]]), draw, numbers)
    assert (tokens.tolist(), logprobs.tolist()) == ([2], [0.0])


def test_a_token_without_a_chance_is_never_drawn() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.0, 1.0]])
    tokens, _ = drawn(logits, Draw(1, 1.0, top_k=2), torch.tensor([0.0]))
    assert tokens.tolist() == [1]


def test_each_answer_is_told_by_its_place_among_all() -> None:
    model, told = tiny("llama", "stock"), {}
    prompts = [[5, 6], [7, 8, 9], [10, 11], [12]]
    found = rollouts(
        model, prompts, Draw(2, 0.0), set(), lambda: WholeCache(model), 2,
        ended=lambda place, answer: told.update({place: answer}),
    )  # fmt: skip
    assert [told[place] for place in range(4)] == found


CACHES: dict[str, type[Any]] = {"split": SplitHeadCache, "h2o": H2OCache, "rkv": RKVCache}


@pytest.mark.parametrize("cache", CACHES)
def test_bytes_are_those_of_the_answer_not_of_its_batch(tracer, cache: str) -> None:
    model, tokenizer = tracer
    mask = HeadMask.random(4, 8, sparsity=0.5, seed=0, sink=4, recent=16)
    made: list[Any] = []

    def new_cache() -> Any:
        made.append(CACHES[cache](model, mask))
        return made[-1]

    prompts, ends = _prompts(tokenizer, 6), end_tokens(model, tokenizer)
    assert len({len(prompt) for prompt in prompts}) > 1
    alone, together = (
        rollouts(model, prompts, Draw(60, 0.0), ends, new_cache, rows) for rows in (1, 6)
    )
    assert [r.kv_bytes for r in alone] == [r.kv_bytes for r in together]
    for rollout, held in zip(alone, made, strict=False):
        assert 0 <= held.nbytes - rollout.kv_bytes <= held.nbytes * 8 / rollout.length + 8
    if cache == "split":
        spec = model_spec(model)
        assert [r.kv_bytes for r in alone] == [spec.kv_bytes(mask, r.length) for r in alone]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_told(temperature: float, bad: float) -> None:
    """float16 overflows in some models; a greedy answer would be noise, a drawn one a crash."""
    logits = torch.zeros(2, 5)
    logits[1, 3] = bad
    with pytest.raises(UserError, match="number format float32"):
        drawn(logits, Draw(4, temperature=temperature))
    logits[1, 3] = -math.inf  # what masks out a token is no defect
    drawn(logits, Draw(4, temperature=temperature))
