from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig

from rlkv import gates as gates_module
from rlkv.errors import UserError
from rlkv.evaluation.accuracy import accuracy
from rlkv.gates import Gates
from rlkv.masks import HeadMask
from rlkv.models import load_model
from rlkv.tasks import get_task
from rlkv.training import checkpoint
from rlkv.training.config import TrainConfig, make_config
from rlkv.training.grpo import GateTrainer, dataset_rows, grpo_config, make_trainer
from rlkv.training.penalty import penalty_weight
from rlkv.training.rollout import Rollout
from rlkv.training.run import train
from rlkv.training.sampler import Sampler
from rlkv.training.self_distillation import schedule
from tests.rlkv.endings import end_as
from tests.rlkv.families import tiny

SMALL: dict[str, Any] = {
    "steps": 6,
    "prompts_per_step": 3,
    "samples_per_prompt": 2,
    "problems": 8,
    "eval_problems": 4,
    "save_every": 2,
    "max_new_tokens": 96,
    "learning_rate": 0.1,
    "elimination": False,  # most of the time of so small a job
}


class Log:
    """An observer that remembers, and asks to stop after a given step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: dict[int, Mapping[str, float]] = {}
        self.gates: dict[int, np.ndarray] = {}
        self.events: list[str] = []
        self.phases: dict[str, tuple[int, int]] = {}
        self.resumed_after: list[int] = []
        self.stop_after = stop_after

    def event(self, text: str) -> None:
        self.events.append(text)

    def phase(self, name: str, done: int, total: int) -> None:
        self.phases[name] = (done, total)

    def resumed(self, step: int) -> None:
        self.resumed_after.append(step)

    def step(self, step: int, metrics: Mapping[str, float], gates: np.ndarray) -> None:
        self.steps[step], self.gates[step] = metrics, gates.copy()

    def should_stop(self) -> bool:
        return self.stop_after is not None and self.stop_after in self.steps


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
    gates = _short_training(model, tokenizer, reward=lambda step, i: float(i > 0))
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


@pytest.mark.slow
def test_a_stopped_job_resumes_exactly(tmp_path: Path) -> None:
    config = make_config({**SMALL, "eval_problems": 0})
    whole, stopped, resumed = Log(), Log(stop_after=3), Log()
    unbroken = train(config, tmp_path / "whole", whole)
    half = train(config, tmp_path / "parts", stopped)
    assert list(stopped.steps) == [1, 2, 3]
    assert half.info["steps_done"] == 3
    assert "(3 of 6 steps)" in half.name
    mask = train(config, tmp_path / "parts", resumed)
    assert resumed.resumed_after == [3]
    assert mask.info == unbroken.info
    assert np.array_equal(mask.scores, unbroken.scores)
    assert list(resumed.steps) == [4, 5, 6]
    for step in (4, 5, 6):
        assert np.array_equal(resumed.gates[step], whole.gates[step])
        assert resumed.steps[step]["reward"] == whole.steps[step]["reward"]


@pytest.mark.slow
def test_a_torn_checkpoint_is_not_used(tmp_path: Path) -> None:
    config = make_config({**SMALL, "eval_problems": 0})
    train(config, tmp_path, Log(stop_after=4))
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[1] == 4
    (found[0] / "complete").unlink()
    (found[0] / "gates.safetensors").write_bytes(b"torn")
    log = Log()
    train(config, tmp_path, log)
    assert log.resumed_after == [2]
    assert list(log.steps) == [3, 4, 5, 6]
    assert (found[0] / "gates.safetensors").read_bytes() != b"torn"


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    for name in ("checkpoint-2", "checkpoint-4"):
        (tmp_path / name).mkdir()
    checkpoint.mark_complete(tmp_path / "checkpoint-2")
    checkpoint.remove_torn(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_checkpoints_hold_gates_only(tmp_path: Path) -> None:
    train(make_config({**SMALL, "eval_problems": 0}), tmp_path, Log(stop_after=4))
    folders = sorted(p.name for p in tmp_path.glob("checkpoint-*"))
    assert folders == ["checkpoint-2", "checkpoint-4"]
    size = sum(p.stat().st_size for p in (tmp_path / "checkpoint-4").iterdir())
    assert size < 100_000


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    checkpoint.save_gates(gates_module.Gates(2, 2, 4, 16), tmp_path)
    with pytest.raises(UserError, match=r"gates \(2, 2\), the model needs \(4, 8\)"):
        checkpoint.load_gates(gates_module.Gates(4, 8, 4, 16), tmp_path)


def _short_training(model, tokenizer, **settings: Any) -> Gates:
    """The gates of `_short_trainer`."""
    return _short_trainer(model, tokenizer, **settings).gates


def _short_trainer(model, tokenizer, *, reward, steps: int = 4, **settings: Any) -> GateTrainer:
    """Trains gates with a reward made up per (step, sample)."""
    config = make_config({**SMALL, "steps": steps, "hardening": "none", **settings})
    gates = gates_module.attach(model, sink=4, recent=16)
    problems = get_task("tracing").problems(config.prompts_per_step * steps, seed=0)

    def function(completions, trainer_state, **kwargs):
        return [reward(trainer_state.global_step, i) for i in range(len(completions))]

    rows = Dataset.from_list(dataset_rows(problems))
    trainer = make_trainer(
        model, tokenizer, gates, config, rows, function, Path("/nonexistent"), []
    )
    trainer.args.save_strategy = "no"
    trainer.train()
    return trainer


def test_no_reward_gradient_and_no_penalty_move_nothing() -> None:
    """Below the cut-off with equal rewards Adam's momentum must not carry the gates on."""
    gates = _short_training(*load_model("tracer"), reward=lambda step, i: 0.0)
    assert torch.equal(gates.values, torch.ones_like(gates.values))


@pytest.mark.slow
def test_momentum_does_not_coast_when_the_reward_is_gone() -> None:
    two = _short_training(*load_model("tracer"), steps=2, reward=lambda step, i: 1.0)
    model, tokenizer = load_model("tracer")
    four = _short_training(model, tokenizer, steps=4, reward=lambda step, i: float(step < 2))
    assert two.values.max() < 1
    assert torch.equal(two.values, four.values)


def test_with_a_flat_reward_the_descent_follows_beta() -> None:
    """Adam alone would move every gate by the learning rate however small beta is."""
    falls = {}
    for beta in (0.05, 0.0005):
        gates = _short_training(
            *load_model("tracer"), reward=lambda step, i: 1.0, penalty=beta, learning_rate=0.03
        )
        falls[beta] = float(1 - gates.values.detach().mean())
    assert falls[0.05] > 0.05
    assert falls[0.0005] < 0.1 * falls[0.05]


def test_gates_stop_at_zero() -> None:
    gates = _short_training(
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


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"steps": 0}, "Steps: .*greater than or equal to 1, got 0"),
        ({"penalty": -1}, "Penalty"),
        ({"learning_rate": "fast"}, "Learning rate: .*number"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_settings_name_the_field(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_config(values)


def test_unknown_preset() -> None:
    with pytest.raises(UserError, match="no preset 'instant'"):
        make_config({}, "instant")


def test_every_setting_explains_itself() -> None:
    for name, field in TrainConfig.model_fields.items():
        assert field.title, name
        assert field.description, name


def test_settings_of_the_first_version_are_understood() -> None:
    assert make_config({"hardening": True}).hardening == "anneal"
    assert make_config({"hardening": "none"}).hardening == "none"


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


def test_the_paper_preset_is_as_published() -> None:
    paper = make_config({}, "paper")
    assert (paper.penalty, paper.cutoff, paper.learning_rate) == (1e-3, 0.5, 1e-2)
    assert (paper.prompts_per_step, paper.samples_per_prompt, paper.steps) == (32, 4, 185)
    assert (paper.sink, paper.recent, paper.window) == (128, 256, (16, 64))
    assert (paper.hardening, paper.elimination, paper.adam_epsilon) == ("none", False, 1e-8)
    assert (paper.pool, paper.max_new_tokens, paper.weight_decay) == (3000, 7168, 0.017)
    assert paper.strata == "2048:600,4096:600,6144:1000,8192:800"
    assert sum(int(part.split(":")[1]) for part in paper.strata.split(",")) == paper.pool
    assert (paper.temperature, paper.top_p, paper.top_k) == (1.0, 1.0, 0)
    assert (paper.task, paper.advantages) == ("deepscaler", "group")


@pytest.mark.parametrize("preset", ["quick", "thorough", "paper"])
def test_presets_are_valid(preset: str) -> None:
    assert make_config({}, preset).steps > 0


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
    trainer = _short_trainer(model, tokenizer, steps=1, reward=lambda step, i: float(i % 2))
    assert 0 < trainer.largest_gap < 1e-4


def test_rows_at_once_change_memory_not_the_gates() -> None:
    """A step in passes of two rows is the step in one pass of six."""
    values = {}
    for rows in (0, 2):
        gates = _short_training(
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
    gates = _short_training(*load_model("tracer"), reward=lambda step, i: float(i < 4))
    assert torch.equal(gates.values, torch.ones_like(gates.values))


def test_batch_advantages_learn_from_such_a_step() -> None:
    gates = _short_training(
        *load_model("tracer"), reward=lambda step, i: float(i < 4), advantages="batch"
    )
    assert not torch.equal(gates.values, torch.ones_like(gates.values))
