"""Gates: one trainable number per (layer, KV head), mixed into attention while training.

Layers with a sliding window of their own have no gates; row r of the gates belongs to the r-th
layer with full attention.

    out = a * full attention + (1 - a) * streaming attention

The model itself is never changed: attaching registers one parameter, detaching removes it.
Masks for deployment do not use gates at all; they travel in the cache (`rlkv.cache`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from rlkv.attention import GATES_ATTRIBUTE, enable
from rlkv.layout import layout_of
from rlkv.streaming import StreamingWindow

MODULE_NAME = "rlkv_gates"


class Gates(nn.Module):
    """fp32 gates `[layers, kv_heads]`, all 1.0 at first, kept in [0, 1] by `clamp_`.

    What acts in attention is not always the value itself (`rlkv.training.hardening`):

    - `sharpness` k anneals the mix toward binary: `clamp(0.5 + k (a - 0.5), 0, 1)`. With k = 1
      it is the published method.
    - `kept` n, if given, makes the n highest gates act as 1 and the others as 0, while gradients
      go straight through to the values.
    """

    def __init__(self, layers: int, kv_heads: int, sink: int, recent: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.ones(layers, kv_heads, dtype=torch.float32))
        self.window = StreamingWindow(sink, recent)
        self.sharpness = 1.0
        self.kept: int | None = None
        self._held: torch.Tensor | None = None

    def effective(self) -> torch.Tensor:
        """The gates as they act now, `[layers, kv_heads]`, differentiable unless `held`."""
        if self._held is not None:
            return self._held
        if self.kept is not None:
            hard = self.highest(self.kept).to(self.values.dtype)
            return hard + (self.values - self.values.detach())  # exactly 0 or 1
        if self.sharpness == 1.0:
            return self.values
        return (0.5 + self.sharpness * (self.values - 0.5)).clamp(0.0, 1.0)

    def highest(self, count: int) -> torch.Tensor:
        """bool `[layers, kv_heads]`: the `count` highest values; ties fall by (layer, head)."""
        order = self.values.detach().flatten().sort(descending=True, stable=True).indices
        chosen = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
        chosen[order[:count]] = True
        return chosen.view_as(self.values)

    def penalty(self) -> torch.Tensor:
        """Mean absolute value of the acting gates: the L1 term of the loss."""
        return self.effective().abs().mean()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Puts the values back into [0, 1]; to be called after every optimiser step."""
        self.values.clamp_(0.0, 1.0)

    @torch.no_grad()
    def balance_(self, mean: float) -> None:
        """Shifts all values alike until their mean is `mean`, staying in [0, 1]."""
        low, high = -1.0, 1.0
        for _ in range(30):  # the mean after clamping grows with the shift: halve the interval
            middle = (low + high) / 2
            if float((self.values + middle).clamp(0.0, 1.0).mean()) < mean:
                low = middle
            else:
                high = middle
        self.values.add_(high).clamp_(0.0, 1.0)

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Within it the values themselves act, not hardened."""
        before = self.sharpness, self.kept
        self.sharpness, self.kept = 1.0, None
        try:
            yield
        finally:
            self.sharpness, self.kept = before

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it the acting gates are computed once, without gradients: for rollouts."""
        self._held = self.effective().detach()
        try:
            yield
        finally:
            self._held = None


def attach(model: PreTrainedModel, *, sink: int, recent: int) -> Gates:
    """Freezes the model and gives it gates; every forward pass then runs mixed attention.

    The window is counted in tokens; see `rlkv.streaming.StreamingWindow`.

    Raises:
        UserError: if the model can't be served.
    """
    layout = layout_of(model)
    enable(model)
    gates = Gates(*layout.shape, sink, recent)
    gates.to(device=model.device)
    model.requires_grad_(False)
    model.add_module(MODULE_NAME, gates)
    for row, index in enumerate(layout.gated):
        module = model.get_submodule(layout.layers[index].module)
        # Past nn.Module.__setattr__, which would register the gates once more in each layer.
        module.__dict__[GATES_ATTRIBUTE] = (gates, row)
    return gates


def detach(model: PreTrainedModel) -> None:
    """Removes the gates; the model is as it was before `attach`, still frozen."""
    for layer in layout_of(model).layers:
        model.get_submodule(layer.module).__dict__.pop(GATES_ATTRIBUTE, None)
    if hasattr(model, MODULE_NAME):
        delattr(model, MODULE_NAME)
