from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlkv import gates as gates_module
from rlkv.generation import prompt_ids
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import get_task
from rlkv.training import elimination
from rlkv.training.elimination import (
    Text,
    _batches,
    _by_gradient,
    _by_trying,
    _candidates,
    _Cost,
    _Judge,
    _Look,
    _share,
    eliminate,
)
from rlkv.training.removed_heads import RemovedHeads
from rlkv.training.self_distillation import attempt

SHIPPED = Path(__file__).parents[2] / "examples" / "masks" / "tracer"


@pytest.fixture(scope="module")
def setting():
    model, tokenizer = load_model("tracer")
    task = get_task("tracing")
    solutions = attempt(model, tokenizer, task, task.problems(8, seed=0), max_new_tokens=112)
    texts = [Text(prompt_ids(tokenizer, s.problem.prompt), s.ids) for s in solutions]
    gates = gates_module.attach(model, sink=4, recent=16)
    return model, gates, texts


def test_the_cost_is_the_share_of_the_answers_likelihood_that_is_lost(setting) -> None:
    model, gates, texts = setting
    judge = _Judge(model, gates, _batches(texts, 3, model.device))
    full = torch.ones(4, 8, dtype=torch.bool)
    kept = full.clone()
    kept[1, 2:5] = False

    @torch.no_grad()
    def losses(mask: torch.Tensor) -> list[torch.Tensor]:
        gates.values.copy_(mask)
        found = []
        for text in texts:
            ids = torch.tensor([[*text.prompt, *text.answer]])
            logp = model(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
            found.append(-logp.gather(-1, ids[0, 1:, None])[len(text.prompt) - 1 :, 0])
        return found

    before, after = losses(full), losses(kept)
    pairs = zip(before, after, strict=True)
    left = np.mean([min(1.0, float((b.sum() - a.sum()).exp())) for b, a in pairs])
    assert left < 0.9
    look = judge.look(kept)
    assert look.share == pytest.approx(left, rel=1e-3)
    expected = 1 - left + elimination.TIE * torch.cat(after).mean().item()
    found = judge.cost(kept)
    assert (found.share, found.cost) == pytest.approx((left, expected), rel=1e-3)
    assert judge.look(full).share == pytest.approx(1.0, rel=1e-5)


def test_the_guess_is_the_slope_of_the_cost(setting) -> None:
    """First order: turning one gate down a little changes the cost as guessed."""
    model, gates, texts = setting
    judge = _Judge(model, gates, _batches(texts, 8, model.device))
    kept = torch.ones(4, 8, dtype=torch.bool)
    kept[1, 2:5] = False
    look = judge.look(kept)
    layer, head = divmod(int((look.worth.abs() * kept).argmax()), 8)
    lower = kept.float()
    lower[layer, head] -= 1e-2
    slope = (judge.cost(lower).cost - judge.cost(kept).cost) / 1e-2
    assert slope == pytest.approx(float(look.worth[layer, head]), rel=0.3)


@pytest.mark.slow
def test_at_the_edge_it_ranks_better_than_the_gates_which_are_left_alone(setting) -> None:
    model, gates, texts = setting
    learned = np.array(HeadMask.load(SHIPPED).info["gates"], dtype=np.float32)
    with torch.no_grad():
        gates.values.copy_(torch.from_numpy(learned))
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        seen.append((done, total))
        return True

    scores = eliminate(model, gates, texts, progress)
    assert np.array_equal(gates.values.detach().numpy(), learned)
    assert gates.values.grad is None
    assert sorted((scores.flatten() * 32).round()) == list(range(1, 33))
    assert seen[0] == (0, 32)
    judge = _Judge(model, gates, _batches(texts, 8, model.device))

    def cost(ranking: np.ndarray, count: int) -> float:
        best = ranking.flatten().argsort(kind="stable")[-count:]
        kept = torch.zeros(32, dtype=torch.bool)
        kept[best.copy()] = True
        return judge.cost(kept.view(4, 8)).cost

    assert cost(scores, 13) < 0.1 < 0.9 < cost(-scores, 13)
    assert cost(scores, 10) < cost(learned, 10) - 0.05


def test_ended_early_the_rest_is_ranked_by_gates(setting) -> None:
    model, gates, texts = setting
    with torch.no_grad():
        gates.values.copy_(torch.linspace(0.1, 0.9, 32).view(4, 8))
    scores = eliminate(model, gates, texts, lambda done, total: False)
    assert np.array_equal(scores.flatten().argsort(), np.arange(32))


def test_nothing_is_dropped_out_though_the_trainer_left_the_model_in_training_mode(setting) -> None:
    model, gates, texts = setting
    modes = []
    hook = model.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    model.train()
    try:
        eliminate(model, gates, texts[:2], lambda done, total: done < 1)
        assert model.training
    finally:
        model.eval()
        hook.remove()
    assert modes
    assert not any(modes)


def test_gates_that_were_hardened_act_as_plain_ones_meanwhile(setting) -> None:
    model, gates, texts = setting
    seen: list[tuple[float, int | None]] = []

    def progress(done: int, total: int) -> bool:
        seen.append((gates.sharpness, gates.kept))
        return False

    gates.sharpness, gates.kept = 8.0, 5
    try:
        eliminate(model, gates, texts[:1], progress)
        assert seen == [(1.0, None)]
        assert (gates.sharpness, gates.kept) == (8.0, 5)
    finally:
        gates.sharpness, gates.kept = 1.0, None


@pytest.mark.slow
def test_a_killed_elimination_goes_on_after_the_heads_it_had_removed(
    setting, tmp_path: Path
) -> None:
    model, gates, texts = setting
    learned = torch.linspace(0.1, 0.9, 32).view(4, 8)
    with torch.no_grad():
        gates.values.copy_(learned)
    record = RemovedHeads(tmp_path)
    seen: list[int] = []

    def dies(done: int, total: int) -> bool:
        if done == 3:
            raise KeyboardInterrupt
        return True

    def ends_at_six(done: int, total: int) -> bool:
        seen.append(done)
        return done < 6

    unbroken = eliminate(model, gates, texts, lambda done, total: done < 6)
    with pytest.raises(KeyboardInterrupt):
        eliminate(model, gates, texts, dies, record=record)
    again = eliminate(model, gates, texts, ends_at_six, record=record)

    assert seen == [3, 4, 5, 6]
    assert np.array_equal(again, unbroken)
    assert len(record.read(learned)) == 6


def test_a_record_of_other_gates_or_a_torn_one_counts_as_none(tmp_path: Path) -> None:
    record, gates = RemovedHeads(tmp_path), torch.full((2, 3), 0.5)
    assert record.read(gates) == []
    record.write(gates, [4, 1])
    assert record.read(gates) == [4, 1]
    assert record.read(gates + 0.1) == []
    for removed in ("[4, 4]", "[6]", '"x"'):
        text = record.path.read_text()
        record.path.write_text(text.replace("[4, 1]", removed))
        assert record.read(gates) == []
        record.write(gates, [4, 1])
    record.path.write_text(record.path.read_text()[:20])
    assert record.read(gates) == []


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
    assert gates.values.grad is None


def test_a_tenth_of_all_heads_comes_into_question_and_near_the_end_every_one() -> None:
    learned = torch.linspace(0.9, 0.1, 100).view(10, 10)
    kept = torch.ones(10, 10, dtype=torch.bool)
    kept.view(-1)[60:] = False
    assert _candidates(kept, learned) == list(range(59, 49, -1))  # however many are left
    kept.view(-1)[16:] = False
    assert _candidates(kept, learned) == list(range(15, -1, -1))


def test_of_the_candidates_those_go_that_a_gradient_calls_cheapest() -> None:
    class Guesses:
        def look(self, kept: torch.Tensor) -> _Look:
            return _Look(0.9, torch.tensor([[0.0, 0.4, 0.1], [0.3, 0.2, 0.5]]))

    judge: Any = Guesses()
    kept = torch.ones(2, 3, dtype=torch.bool)
    assert _by_gradient(judge, kept, [1, 2, 3, 4], 2) == (0.9, [2, 4])


class Costs:
    """Knows what each head is worth, and remembers which were tried."""

    def __init__(self, worth: list[float]) -> None:
        self.worth, self.tried = torch.tensor(worth), 0

    def cost(self, kept: torch.Tensor) -> _Cost:
        self.tried += 1
        lost = float(self.worth[~kept.flatten()].sum())
        return _Cost(1 - lost, lost)


def test_few_heads_are_all_tried_on_few_answers_and_the_best_of_them_on_all() -> None:
    worth = [0.05 * n for n in range(16, 0, -1)]
    rough: Any = Costs(worth)
    fine: Any = Costs(worth)
    kept = torch.ones(2, 8, dtype=torch.bool)
    share, gone = _by_trying(rough, fine, kept, list(range(16)))
    assert share == pytest.approx(0.95)
    assert gone == [15]
    assert (rough.tried, fine.tried) == (16, elimination.TRIED)


def test_where_nothing_is_left_to_tell_the_gates_rank_the_rest(
    setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, gates, texts = setting
    with torch.no_grad():
        gates.values.copy_(torch.linspace(0.9, 0.1, 32).view(4, 8))
    monkeypatch.setattr(elimination, "LOST", 1.1)
    scores = eliminate(model, gates, texts[:2])
    assert np.array_equal(scores.flatten().argsort(), np.arange(31, -1, -1))


def test_an_answer_likelier_than_before_counts_as_whole() -> None:
    found = _share(torch.tensor([5.0, 5.0]), torch.tensor([4.0, 6.0]))
    assert found.tolist() == pytest.approx([1.0, np.exp(-1)])
