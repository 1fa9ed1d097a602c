"""No tensor of queries x keys is built, neither in training nor for a long padded prompt."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rlkv.cache import SplitHeadCache
from rlkv.gates import attach
from tests.rlkv.families import batch, tiny
from tests.rlkv.test_cache import head_mask

LENGTH = 1600


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the largest last two dimensions of any tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.square = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.ndim >= 2:
                self.square = max(self.square, min(tensor.shape[-2:]))
        return out


def long_batch() -> dict[str, torch.Tensor]:
    return batch(2, LENGTH, [0, 300])


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_oss"])
def test_training_through_gates(family: str) -> None:
    model = tiny(family, max_position_embeddings=2048)
    attach(model, sink=4, recent=16)
    with Largest() as seen:
        model(**long_batch(), use_cache=False).logits[:, -1].sum().backward()
    assert 0 < seen.square <= 1024  # a block of queries, for two heads of a group


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_oss"])
def test_a_long_padded_prompt(family: str) -> None:
    model = tiny(family, max_position_embeddings=2048)
    cache = SplitHeadCache(model, head_mask("mixed"))
    with torch.inference_mode(), Largest() as seen:
        model(**long_batch(), past_key_values=cache)
    assert 0 < seen.square <= 1024  # a block of queries, for two heads of a group


def test_the_stock_model_does_build_one() -> None:
    with torch.inference_mode(), Largest() as seen:
        tiny("llama", "stock", max_position_embeddings=2048)(**long_batch())
    assert seen.square == LENGTH
