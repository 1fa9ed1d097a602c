from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trl import GRPOConfig

from rlkv import gates as gates_module
from rlkv.evaluation.accuracy import accuracy
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import get_task
from rlkv.training.config import make_config
from rlkv.training.grpo import grpo_config
from rlkv.training.penalty import penalty_weight
from rlkv.training.rollout import Rollout
from rlkv.training.run import train
from rlkv.training.sampler import Sampler
from rlkv.training.self_distillation import schedule
from tests.rlkv.endings import end_as
from tests.rlkv.families import tiny
from tests.rlkv.short_training import SMALL, Log, short_trainer, short_training


@pytest.mark.parametrize(
    ("beta", "reward", "weight"),
    [(1e-3, 0.5, 0.0), (1e-3, 0.49, 0.0), (1e-3, 0.7, 1.0138e-3), (2.0, 1.0, 3.43656)],
)
def test_penalty_weight_is_adaptive_with_a_cutoff(
    beta: float, reward: float, weight: float
) -> None:
    assert penalty_weight(beta, 0.5, reward) == pytest.approx(weight, rel=1e-4)


@pytest.mark.slow
def test_a_run_from_settings_to_mask(tmp_path: Path) -> None:
    log = Log()
    hard = {"hard_every": 3, "hardening": "anneal", "elimination": True}
    config = make_config({**SMALL, **hard, "seed": 1})
    mask = train(config, tmp_path, log)
    assert list(log.phases) == ["sampling", "training", "elimination", "measuring"]
    assert log.phases["training"] == (6, 6)
    assert list(log.steps) == [1, 2, 3, 4, 5, 6]
    assert [step for step, m in log.steps.items() if "reward_hard" in m] == [1, 4, 6]
    assert {"reward", "gate_mean", "sparsity", "penalty_weight", "sharpness", "loss", "grad_norm",
            "step_seconds", "completion_length"} <= set(log.steps[1])  # fmt: skip
    assert log.steps[1]["gate_mean"] == 1.0
    assert log.gates[6].mean() < 0.9
    assert all(g.min() >= 0 and g.max() <= 1 for g in log.gates.values())
    assert log.steps[1]["sharpness"] == 1.0
    assert log.steps[6]["sharpness"] == 8.0
    assert mask.n_kept == 16
    assert np.allclose(mask.info["gates"], log.gates[6], atol=1e-6)
    assert sorted(mask.scores.flatten() * 32) == pytest.approx(range(1, 33))  # ranks
    assert mask.info["largest_logprob_gap"] < 1e-4
    assert (mask.sink, mask.recent, mask.model) == (4, 16, "tracer")
    assert mask.info["recipe"] == config.model_dump()
    metrics = mask.info["metrics"]
    unseen = get_task("tracing").problems(4, seed=1, split="test")
    again = accuracy(*load_model("tracer"), get_task("tracing"), unseen, mask).value
    assert (metrics["n"], metrics["accuracy_at_50"]) == (4, again)
    assert metrics["accuracy_full"] > again  # six steps find no good mask
    assert any("are solved" in event for event in log.events)


def test_the_model_is_bit_identical_after_training() -> None:
    model, tokenizer = load_model("tracer")
    before = {name: p.clone() for name, p in model.state_dict().items()}
    gates = short_training(model, tokenizer, reward=lambda step, i: float(i > 0))
    assert not torch.equal(gates.values, torch.ones_like(gates.values))
    gates_module.detach(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_right_answer_that_did_not_end_by_itself_earns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earned = end_as(["end", "length", "repetition"], monkeypatch)
    config = make_config({**SMALL, "steps": 1, "samples_per_prompt": 3, "eval_problems": 0})
    log = Log()
    train(config, tmp_path, log)
    assert earned == [[1.0, 0.0, 0.0] * 3]
    assert log.steps[1]["reward"] == pytest.approx(1 / 3)


def test_no_reward_gradient_and_no_penalty_move_nothing() -> None:
    """Below the cut-off with equal rewards Adam's momentum must not carry the gates on."""
    gates = short_training(*load_model("tracer"), reward=lambda step, i: 0.0)
    assert torch.equal(gates.values, torch.ones_like(gates.values))


@pytest.mark.slow
def test_momentum_does_not_coast_when_the_reward_is_gone() -> None:
    two = short_training(*load_model("tracer"), steps=2, reward=lambda step, i: 1.0)
    model, tokenizer = load_model("tracer")
    four = short_training(model, tokenizer, steps=4, reward=lambda step, i: float(step < 2))
    assert two.values.max() < 1
    assert torch.equal(two.values, four.values)


@pytest.mark.slow
def test_with_a_flat_reward_the_descent_follows_beta() -> None:
    """Adam alone would move every gate by the learning rate however small beta is."""
    falls = {}
    for beta in (0.05, 0.0005):
        gates = short_training(
            *load_model("tracer"), reward=lambda step, i: 1.0, penalty=beta, learning_rate=0.03
        )
        falls[beta] = float(1 - gates.values.detach().mean())
    assert falls[0.05] > 0.05
    assert falls[0.0005] < 0.1 * falls[0.05]


def test_gates_stop_at_zero() -> None:
    gates = short_training(
        *load_model("tracer"), reward=lambda step, i: 1.0, penalty=1.0, learning_rate=0.5
    )
    assert torch.equal(gates.values, torch.zeros_like(gates.values))


def test_the_schedule_reshuffles_and_is_seeded() -> None:
    problems = get_task("tracing").problems(5, seed=0)
    order = schedule(problems, 13, seed=1)
    assert order == schedule(problems, 13, seed=1)
    assert order != schedule(problems, 13, seed=2)
    assert set(order[:5]) == set(order[5:10]) == set(problems)


def test_stopping_before_the_first_step(tmp_path: Path) -> None:
    class Impatient(Log):
        def should_stop(self) -> bool:
            return True

    mask = train(make_config(SMALL), tmp_path, Impatient())
    assert mask.info["steps_done"] == 0
    assert mask.scores.min() == 1.0


def test_the_mask_may_have_another_window_than_the_training(tmp_path: Path) -> None:
    config = make_config({**SMALL, "deployed_sink": 2, "deployed_recent": 9})
    mask = train(config, tmp_path, Log(stop_after=1))
    assert (mask.sink, mask.recent) == (2, 9)


@pytest.mark.slow
def test_the_reward_as_deployed_is_that_of_the_window_to_deploy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[HeadMask] = []
    plain = Sampler.greedy

    def greedy(self: Sampler, prompts: list[list[int]], mask: HeadMask) -> list[Rollout]:
        seen.append(mask)
        return plain(self, prompts, mask)

    monkeypatch.setattr(Sampler, "greedy", greedy)
    train(make_config({**SMALL, "deployed_sink": 2, "deployed_recent": 9}), tmp_path, Log())
    assert {(mask.sink, mask.recent) for mask in seen} == {(2, 9)}


def test_a_process_works_on_one_gpu_of_several(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The Trainer would spread over all, which TRL refuses."""
    plain = GRPOConfig.__post_init__

    def four(self: GRPOConfig) -> None:
        plain(self)
        self._n_gpu = 4

    monkeypatch.setattr(GRPOConfig, "__post_init__", four)
    assert grpo_config(make_config(SMALL), tmp_path, "cpu").n_gpu == 1


@pytest.mark.parametrize(
    "hardening",
    [
        "none",
        *(pytest.param(way, marks=pytest.mark.slow) for way in ("anneal", "straight-through")),
    ],
)
def test_rollout_and_loss_agree_on_log_probabilities(tmp_path: Path, hardening: str) -> None:
    """One attention rule for both, whatever way the gates act."""
    settings = {**SMALL, "hardening": hardening, "eval_problems": 0}
    log = Log()
    train(make_config(settings), tmp_path, log)
    assert 0 < max(m["logprob_gap"] for m in log.steps.values()) < 1e-4


@pytest.mark.slow
def test_a_mismatch_of_rollout_and_loss_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were rollouts drawn under other gates than the loss uses, the report would say so."""
    draw = Sampler.draw

    def drawn_under_open_gates(self: Sampler, prompts: list[list[int]]) -> Any:
        before = self.gates.values.detach().clone()
        self.gates.values.data.fill_(1.0)
        try:
            return draw(self, prompts)
        finally:
            self.gates.values.data.copy_(before)

    monkeypatch.setattr(Sampler, "draw", drawn_under_open_gates)
    log = Log()
    fast = {"learning_rate": 0.5, "penalty": 1.0, "hardening": "none"}
    train(make_config({**SMALL, **fast, "eval_problems": 0}), tmp_path, log)
    assert max(m["logprob_gap"] for m in log.steps.values()) > 0.1


def test_loss_and_rollout_agree_for_dropout_learned_positions_and_no_chat_template() -> None:
    """GPT-2 as it is published has all three; prompts of different lengths are padded."""
    _, tokenizer = load_model("tracer")
    tokenizer.chat_template = None
    model = tiny("gpt2", vocab_size=len(tokenizer))
    assert model.config.resid_pdrop > 0
    trainer = short_trainer(model, tokenizer, steps=1, reward=lambda step, i: float(i % 2))
    assert 0 < trainer.largest_gap < 1e-4


@pytest.mark.slow
def test_rows_at_once_change_memory_not_the_gates() -> None:
    """A step in passes of two rows is the step in one pass of six."""
    values = {}
    for rows in (0, 2):
        gates = short_training(
            *load_model("tracer"),
            steps=2,
            reward=lambda step, i: float(i > 0),
            rows_at_once=rows,
            temperature=0.01,  # the same answers, however they are drawn
        )
        values[rows] = gates.values.detach().clone()
    assert not torch.equal(values[0], torch.ones_like(values[0]))
    assert torch.allclose(values[0], values[2], atol=1e-4)


def test_gates_stand_still_where_the_reward_says_nothing() -> None:
    """Above the cut-off, but each problem's samples all right or all wrong: no drift."""
    gates = short_training(*load_model("tracer"), reward=lambda step, i: float(i < 4))
    assert torch.equal(gates.values, torch.ones_like(gates.values))


@pytest.mark.slow
def test_batch_advantages_learn_from_such_a_step() -> None:
    gates = short_training(
        *load_model("tracer"), reward=lambda step, i: float(i < 4), advantages="batch"
    )
    assert not torch.equal(gates.values, torch.ones_like(gates.values))
