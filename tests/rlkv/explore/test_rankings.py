"""Rankings find what was planted, and gradients are slopes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rlkv import gates
from rlkv.errors import UserError
from rlkv.explore.measures import MEASURES
from rlkv.explore.probes import ProbeText, probe_texts
from rlkv.explore.rankings import RANKINGS, Probe, reward_gradient
from rlkv.explore.stopping import Stopped
from rlkv.explore.watching import rows_of
from rlkv.models import load_model
from rlkv.streaming import StreamingWindow
from rlkv.tasks import Problem
from rlkv.tasks.tracing import Tracing
from tests.rlkv.explore.conftest import WINDOW
from tests.rlkv.explore.planted import INDUCTION, VOCAB, induction_model
from tests.rlkv.families import batch, tiny


class Words:
    """A stand-in for a tokenizer of the planted model: only its vocabulary is asked for."""

    all_special_ids = (0, 1)
    added_tokens_decoder: dict[int, str] = {}  # noqa: RUF012
    bos_token_id = None

    def __len__(self) -> int:
        return VOCAB


def text(prompt: list[int], answer: list[int]) -> ProbeText:
    return ProbeText(tuple(prompt), tuple(answer), Problem("", ""), True)


@pytest.fixture(scope="module")
def planted() -> Probe:
    """A list of 30 tokens and its repetition as the answer."""
    ids = torch.randperm(VOCAB - 2, generator=torch.Generator().manual_seed(3))[:30] + 2
    texts = [text(ids.tolist(), ids.tolist())]
    tokenizer: Any = Words()
    return Probe(induction_model(), tokenizer, texts, StreamingWindow(2, 8))


@pytest.mark.parametrize("key", ["induction", "retrieval"])
def test_the_planted_induction_head_is_found(planted: Probe, key: str) -> None:
    scores = RANKINGS[key].scores(planted)
    assert scores.shape == (2, 2)
    assert scores[INDUCTION] > 0.9
    assert np.delete(scores.ravel(), 3).max() < 0.1


def test_the_planted_head_looks_far(planted: Probe) -> None:
    """Its second query head looks evenly at all, which is far for most of a long text."""
    scores = RANKINGS["far"].scores(planted)
    assert scores.ravel().argmax() == 3
    assert 0.05 < scores[0, 0] < scores[1, 1]


def test_without_copies_retrieval_says_nothing(planted: Probe) -> None:
    probe = replace(planted, texts=[text(list(range(2, 40)), list(range(40, 60)))])
    assert not RANKINGS["retrieval"].scores(probe).any()


def test_only_far_copies_count(planted: Probe) -> None:
    probe = replace(planted, window=StreamingWindow(2, 40))
    assert not RANKINGS["retrieval"].scores(probe).any()


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss"])
def test_the_gradient_is_the_slope_of_the_likelihood(family: str) -> None:
    """Against attached gates turned by a hundredth up and down."""
    model, ids = tiny(family), batch(1, 30)["input_ids"][0].tolist()
    tokenizer: Any = Words()
    texts = [text(ids[:18], ids[18:])]
    found = reward_gradient(Probe(model, tokenizer, texts, StreamingWindow(2, 5)))
    turned = gates.attach(model, sink=2, recent=5)

    @torch.no_grad()
    def likelihood(cell: tuple[int, int], value: float) -> float:
        turned.values.fill_(1.0)
        turned.values[cell] = value
        logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        return float(sum(logs[at - 1, ids[at]] for at in range(18, 30)))

    for cell in [(0, 0), (1, 3), (2, 1)]:
        slope = (likelihood(cell, 1.01) - likelihood(cell, 0.99)) / 0.02
        assert found[cell] == pytest.approx(slope, abs=2e-3 + 0.02 * abs(slope))
    assert np.abs(found).max() > 0.05


def test_the_gradient_leaves_a_model_in_use_alone(
    tracer: tuple[Any, Any], texts: list[ProbeText]
) -> None:
    """Also after a chat, whose tensors must not turn up in a backward pass."""
    model, tokenizer = tracer
    before = {name: value.clone() for name, value in model.state_dict().items()}
    probe = Probe(model, tokenizer, texts, WINDOW)
    given = {m: (gates.Gates(4, 8, 4, 16), r) for m, r in rows_of(model).items()}
    with torch.inference_mode():
        model(torch.tensor([texts[0].ids]), rlkv_gates=given)
        inside = reward_gradient(probe)
    np.testing.assert_array_equal(reward_gradient(probe), inside)
    assert np.abs(inside).max() > 0
    assert {name: True for name in before} == {
        name: torch.equal(value, before[name]) for name, value in model.state_dict().items()
    }
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("key", list(RANKINGS))
def test_every_ranking_tells_heads_apart(
    tracer: tuple[Any, Any], texts: list[ProbeText], key: str
) -> None:
    scores = RANKINGS[key].scores(Probe(*tracer, texts, WINDOW))
    assert scores.shape == (4, 8)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 10
    assert (RANKINGS[key].key, RANKINGS[key].title) == (key, MEASURES[key].title)


def test_measures_are_the_same_at_every_call(
    tracer: tuple[Any, Any], texts: list[ProbeText]
) -> None:
    for ranking in RANKINGS.values():
        first, second = (ranking.scores(Probe(*tracer, texts, WINDOW, seed=3)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
    seeds = [RANKINGS["induction"].scores(Probe(*tracer, texts, WINDOW, seed=s)) for s in (0, 1)]
    assert (seeds[0] != seeds[1]).any()


def test_texts_within_the_window_are_refused(
    tracer: tuple[Any, Any], texts: list[ProbeText]
) -> None:
    probe = Probe(*tracer, texts, StreamingWindow(16, 512))
    with pytest.raises(UserError, match="beyond a window of 528 tokens"):
        RANKINGS["far"].scores(probe)


@pytest.mark.parametrize("key", list(RANKINGS))
def test_every_ranking_can_be_stopped(
    tracer: tuple[Any, Any], texts: list[ProbeText], key: str
) -> None:
    with pytest.raises(Stopped):
        RANKINGS[key].scores(Probe(*tracer, texts, WINDOW, stop=lambda: True))


def test_probe_texts_are_right_answers_to_problems_for_training(
    tracer: tuple[Any, Any], texts: list[ProbeText]
) -> None:
    _, tokenizer = tracer
    known = {p.prompt for p in Tracing().problems(3 * 4, seed=0, split="train")}
    assert len(texts) == 4
    for one in texts:
        assert one.problem.prompt in known
        answer = tokenizer.decode(list(one.answer), skip_special_tokens=True)
        assert one.right
        assert Tracing().reward(answer, one.problem) == 1.0
        assert one.ids == one.prompt + one.answer


class Hopeless(Tracing):
    """Nothing is ever right."""

    def reward(self, completion: str, problem: Problem) -> float:
        return 0.0


class Half(Tracing):
    """Right is what is right and asks for one of the first names."""

    def reward(self, completion: str, problem: Problem) -> float:
        return float(problem.answer[0] in "abcdef" and super().reward(completion, problem) == 1.0)


def test_wrong_answers_are_used_only_if_none_is_right(tracer: tuple[Any, Any]) -> None:
    wrong = probe_texts(*tracer, Hopeless(), 3, seed=0)
    assert [one.right for one in wrong] == [False] * 3
    half = probe_texts(*tracer, Half(), 3, seed=0)
    assert [one.right for one in half] == [True] * 3
    assert all(one.problem.answer[0] in "abcdef" for one in half)


def test_a_model_with_another_vocabulary_is_told_so() -> None:
    with pytest.raises(UserError, match="does not know"):
        probe_texts(*load_model("tracer"), "recall", 1, seed=0)
