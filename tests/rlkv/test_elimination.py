import numpy as np
import pytest
import torch

from rlkv import gates as gates_module
from rlkv.generation import prompt_ids
from rlkv.models import load_model
from rlkv.tasks import get_task
from rlkv.training import elimination
from rlkv.training.elimination import Text, _batches, _Judge, eliminate
from rlkv.training.self_distillation import attempt


@pytest.fixture(scope="module")
def setting():
    model, tokenizer = load_model("tracer")
    task = get_task("tracing")
    solutions = attempt(model, tokenizer, task, task.problems(8, seed=0), max_new_tokens=112)
    texts = [Text(prompt_ids(tokenizer, s.problem.prompt), s.ids) for s in solutions]
    gates = gates_module.attach(model, sink=4, recent=16)
    return model, gates, texts


def test_the_loss_is_that_of_the_answers_alone(setting) -> None:
    model, gates, texts = setting
    judge = _Judge(model, gates, _batches(texts, 3, model.device))
    kept = torch.ones(4, 8, dtype=torch.bool)
    kept[1, 2:5] = False
    losses = []
    with torch.no_grad():
        gates.values.copy_(kept)
        for text in texts:
            ids = torch.tensor([[*text.prompt, *text.answer]])
            logp = model(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
            losses.append(-logp.gather(-1, ids[0, 1:, None])[len(text.prompt) - 1 :, 0])
    expected = torch.cat(losses).mean().item()
    likely = np.mean([torch.exp(-row.sum()).item() for row in losses])
    assert judge.loss(kept) == pytest.approx(expected, rel=1e-4)
    look = judge.look(kept)
    assert look.likely == pytest.approx(likely, rel=1e-4)


def test_the_guess_is_the_slope_of_the_loss(setting) -> None:
    """First order: turning one gate down a little changes the loss as guessed."""
    model, gates, texts = setting
    judge = _Judge(model, gates, _batches(texts, 8, model.device))
    kept = torch.ones(4, 8, dtype=torch.bool)
    look = judge.look(kept)
    layer, head = divmod(int(look.worth.abs().argmax()), 8)
    lower = kept.float()
    lower[layer, head] -= 1e-2
    slope = (judge.loss(lower) - judge.loss(kept)) / 1e-2
    assert slope == pytest.approx(float(look.worth[layer, head]), rel=0.3)


def test_ranks_beat_the_reversed_ones_and_gates_are_left_alone(
    setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, gates, texts = setting
    monkeypatch.setattr(elimination, "AMONG", 1.0)  # every head comes into question
    with torch.no_grad():
        gates.values.fill_(0.5)  # a ranking that says nothing
    before = gates.values.detach().clone()
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        seen.append((done, total))
        return True

    scores = eliminate(model, gates, texts, progress)
    assert torch.equal(gates.values, before)
    assert gates.values.grad is None
    assert sorted((scores.flatten() * 32).round()) == list(range(1, 33))
    assert seen[0] == (0, 32)
    judge = _Judge(model, gates, _batches(texts, 8, model.device))
    best = torch.from_numpy(scores > 0.5)
    assert judge.loss(best) < 0.3 < 1.0 < judge.loss(~best)


def test_ended_early_the_rest_is_ranked_by_gates(setting) -> None:
    model, gates, texts = setting
    with torch.no_grad():
        gates.values.copy_(torch.linspace(0.1, 0.9, 32).view(4, 8))
    scores = eliminate(model, gates, texts, lambda done, total: False)
    assert np.array_equal(scores.flatten().argsort(), np.arange(32))


def test_only_low_gates_come_into_question(setting) -> None:
    """The learned gates decide who may go: the four lowest of thirty-two at first."""
    model, gates, texts = setting
    values = torch.ones(32)
    low = [3, 11, 19, 27]
    values[low] = 0.1
    with torch.no_grad():
        gates.values.copy_(values.view(4, 8))
    scores = eliminate(model, gates, texts, lambda done, total: done == 0)
    first = int(scores.argmin())
    assert first in low
