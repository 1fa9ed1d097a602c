import numpy as np
import pytest
import torch

from rlkv.gates import Gates
from rlkv.training.advantages import batch_advantages, says_something
from rlkv.training.config import make_config
from rlkv.training.hardening import harden, settle


def test_sharpness_rises_after_a_fifth_until_three_quarters() -> None:
    config = make_config({"steps": 100, "hardening": "anneal"})
    gates = Gates(4, 8, 4, 16)
    values = []
    for step in range(100):
        harden(gates, config, step)
        values.append(gates.sharpness)
    assert values[:21] == [1.0] * 21
    assert values == sorted(values)
    assert values[74:] == [8.0] * 26


def test_the_mask_of_straight_through_shrinks_to_the_target() -> None:
    settings = {"steps": 100, "hardening": "straight-through", "target_sparsity": 0.75}
    config = make_config(settings)
    gates = Gates(4, 8, 4, 16)
    kept: list[int] = []
    for step in range(100):
        harden(gates, config, step)
        assert gates.kept is not None
        kept.append(gates.kept)
    assert kept[0] == 32
    assert kept == sorted(kept, reverse=True)
    assert kept[60:] == [8] * 40  # 32 - ceil(0.75 * 31)


def test_straight_through_gates_share_out_what_may_be_kept() -> None:
    gates = Gates(4, 8, 4, 16)
    torch.manual_seed(0)
    with torch.no_grad():
        gates.values.uniform_(-0.2, 0.3)
    order = gates.values.detach().clone()
    settle(gates)
    assert gates.values.min() == 0
    gates.kept = 8
    settle(gates)
    assert float(gates.values.detach().mean()) == pytest.approx(0.25, abs=1e-5)
    shift = gates.values.detach() - order.clamp(0, 1)
    assert torch.allclose(shift, shift[0, 0].expand(4, 8), atol=1e-6)  # nobody is favoured


def test_without_hardening_the_values_themselves_act() -> None:
    gates = Gates(4, 8, 4, 16)
    harden(gates, make_config({"hardening": "none"}), 149)
    assert gates.effective() is gates.values


def test_straight_through_acts_as_a_mask_and_learns_as_values() -> None:
    gates = Gates(2, 3, 4, 16)
    with torch.no_grad():
        gates.values.copy_(torch.tensor([[0.9, 0.1, 0.5], [0.5, 0.8, 0.0]]))
    gates.kept = 3
    acting = gates.effective()
    assert acting.tolist() == [[1, 0, 1], [0, 1, 0]]  # of two equal gates the first stays
    torch.autograd.backward((acting * torch.arange(6.0).view(2, 3)).sum())
    assert gates.values.grad is not None
    assert gates.values.grad.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_within_plain_nothing_is_hardened_and_held_is_computed_once() -> None:
    gates = Gates(2, 3, 4, 16)
    gates.sharpness, gates.kept = 8.0, 2
    with gates.plain():
        assert gates.effective() is gates.values
    assert (gates.sharpness, gates.kept) == (8.0, 2)
    with gates.held():
        first = gates.effective()
        assert first.tolist() == gates.highest(2).float().tolist()
        assert gates.effective() is first
        assert not first.requires_grad
    assert gates.effective() is not first


def test_batch_advantages_weigh_tokens() -> None:
    rewards = torch.tensor([1.0, 0.0, 1.0, 1.0])
    tokens = torch.tensor([10, 30, 10, 10])
    found = batch_advantages(rewards, tokens)
    each = np.repeat(rewards.numpy(), tokens.numpy())
    expected = (rewards.numpy() - each.mean()) / each.std(ddof=1)
    assert found.numpy() == pytest.approx(expected, rel=1e-4)
    assert float((found * tokens).sum()) == pytest.approx(0.0, abs=1e-3)


def test_when_rewards_say_something() -> None:
    mixed = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert not says_something(mixed, 2, "group")
    assert says_something(mixed, 2, "batch")
    assert says_something(mixed, 4, "group")
    assert says_something(torch.tensor([1.0, 0.0, 1.0, 1.0]), 2, "group")
    assert not says_something(torch.ones(4), 2, "batch")
