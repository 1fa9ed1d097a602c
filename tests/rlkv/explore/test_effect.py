"""What another mask does to an answer, against answers and predictions made token by token."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.explore.answering import greedy
from rlkv.explore.effect import effect
from rlkv.explore.stopping import Stopped
from rlkv.generation import Sampling, end_tokens, lockstep, prompt_ids
from rlkv.masks import HeadMask
from rlkv.tasks import get_task

ROOT = Path(__file__).parent.parent.parent.parent
FULL = HeadMask.full(4, 8, sink=4, recent=16)
TASK = get_task("tracing")
PROBLEMS = TASK.problems(4, seed=5, split="test")


def learned() -> HeadMask:
    return HeadMask.load(ROOT / "examples" / "masks" / "tracer")


@torch.inference_mode()
def step_by_step(model: Any, prompt: list[int], answer: list[int], mask: HeadMask) -> Any:
    """Log-probabilities `[answer, vocabulary]` with one token fed at a time, as when decoding."""
    cache = SplitHeadCache(model, mask)
    found = [model(torch.tensor([prompt]), past_key_values=cache).logits[0, -1]]
    for token in answer[:-1]:
        found.append(model(torch.tensor([[token]]), past_key_values=cache).logits[0, -1])
    return torch.stack(found).log_softmax(-1)


@pytest.mark.parametrize("sparsity", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("question", [0, 1, 2])
def test_kl_is_that_of_decoding_token_by_token(
    tracer: tuple[Any, Any], sparsity: float, question: int
) -> None:
    model, tokenizer = tracer
    mask, problem = learned().at_sparsity(sparsity), PROBLEMS[question]
    found = effect(model, tokenizer, problem.prompt, (FULL, mask), 112)
    prompt, answer = prompt_ids(tokenizer, problem.prompt), list(found.before.tokens)
    before, after = (step_by_step(model, prompt, answer, m) for m in (FULL, mask))
    assert len(found.steps) == len(answer)
    for at, step in enumerate(found.steps):
        kl = float((before[at].exp() * (before[at] - after[at])).sum())
        assert step.kl == pytest.approx(kl, abs=1e-4)
        assert step.token == answer[at]
        assert step.before.token == int(before[at].argmax())
        assert step.after.probability == pytest.approx(float(after[at].max().exp()), abs=1e-4)
    assert (found.mean_kl > 0.1) == (sparsity == 1.0)


@pytest.mark.parametrize("question", [0, 1, 2, 3])
@pytest.mark.parametrize("other", ["cut", "inverse", "head"])
def test_both_answers_are_those_of_the_chat(
    tracer: tuple[Any, Any], other: str, question: int
) -> None:
    model, tokenizer = tracer
    mask = {
        "cut": learned().at_sparsity(0.8),
        "inverse": learned().inverse(),
        "head": FULL.toggle(1, 6),
    }[other]
    problem = PROBLEMS[question]
    found = effect(model, tokenizer, problem.prompt, (FULL, mask), 60, problem=problem, task=TASK)
    *_, sides = lockstep(model, tokenizer, problem.prompt, [FULL, mask], Sampling(60))
    assert (found.before.text, found.after.text) == (sides[0].text, sides[1].text)
    ends = [answer.ended for answer in (found.before, found.after)]
    assert ends == [side.stop_reason == "end" for side in sides]
    verdicts = [TASK.reward(side.text, problem) == 1.0 for side in sides]
    assert [found.before.right, found.after.right] == verdicts
    prompt = prompt_ids(tokenizer, problem.prompt)
    alone = greedy(model, prompt, mask, max_new_tokens=60, ends=end_tokens(model, tokenizer))
    assert list(found.after.tokens) == alone
    pairs = zip(found.before.tokens, alone, strict=False)
    differ = [at for at, (a, b) in enumerate(pairs) if a != b]
    assert found.first_change == (differ[0] if differ else None)
    if differ:
        step = found.steps[differ[0]]
        assert step.after.token == alone[differ[0]]
        assert step.kl > 0


def test_the_worst_mask_turns_right_into_wrong(tracer: tuple[Any, Any]) -> None:
    problem = PROBLEMS[0]
    masks = (FULL, learned().inverse())
    found = effect(*tracer, problem.prompt, masks, 112, problem=problem, task=TASK)
    assert (found.before.right, found.after.right) == (True, False)
    assert found.first_change is not None
    assert problem.prompt in "".join(found.prompt)
    assert "".join(found.before.pieces) == found.before.text + "<|end|>"


def test_the_same_mask_changes_nothing(tracer: tuple[Any, Any]) -> None:
    found = effect(*tracer, PROBLEMS[1].prompt, (FULL, FULL), 112)
    assert found.first_change is None
    assert found.before == found.after
    assert found.before.right is None
    assert max(step.kl for step in found.steps) == 0.0


def test_stopping_leaves_no_result(tracer: tuple[Any, Any]) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 5

    with pytest.raises(Stopped):
        effect(*tracer, PROBLEMS[0].prompt, (FULL, FULL), 112, stop=stop)
    assert asked == 5


@pytest.mark.parametrize(
    ("prompt", "mask", "tokens", "message"),
    [
        ("", FULL, 5, "Write a question first"),
        ("?", FULL, 0, "At least one new token"),
        ("?k", HeadMask.full(3, 8), 5, "3 layers x 8 KV heads but this model has 4 x 8"),
        ("a=1; " * 600 + "?a", FULL, 5, "the model reads at most 1024"),
    ],
)
def test_mistakes_are_named(
    tracer: tuple[Any, Any], prompt: str, mask: HeadMask, tokens: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        effect(*tracer, prompt, (FULL, mask), tokens)
