"""The cache of rollouts under gates: everything is kept, because a gate may need all of it."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from rlkv.cache_layer import CountingCache, CountingLayer, Store
from rlkv.layout import layout_of


class WholeLayer(CountingLayer):
    """All keys and values of one layer, in storage that grows by more than a token at a time.

    transformers' own layer copies everything for every token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores `[B, kv_heads, T, D]` and returns all that is held."""
        new = torch.stack((key_states, value_states))
        before = self.seen
        self.count(key_states.shape[2])
        self.is_initialized = True
        self.store.reserve(self.seen, new)
        held = self.store.first(self.seen)
        held.narrow(3, before, new.shape[3]).copy_(new)
        key, value = held.unbind()
        return key, value

    def reset(self) -> None:
        super().reset()
        self.store = Store()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self.store.select(indices)


class WholeCache(CountingCache):
    """One `WholeLayer` for each layer of a model."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model, [WholeLayer() for _ in layout_of(model).layers])
