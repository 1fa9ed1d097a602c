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

    `sharpness` k anneals the mix toward binary: the gate that acts is
    `clamp(0.5 + k (a - 0.5), 0, 1)`. With k = 1 it is the published method.
    """

    def __init__(self, layers: int, kv_heads: int, sink: int, recent: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.ones(layers, kv_heads, dtype=torch.float32))
        self.window = StreamingWindow(sink, recent)
        self.sharpness = 1.0
        self.enabled = True

    def effective(self) -> torch.Tensor:
        """The gates as they act now, `[layers, kv_heads]`, differentiable."""
        if self.sharpness == 1.0:
            return self.values
        return (0.5 + self.sharpness * (self.values - 0.5)).clamp(0.0, 1.0)

    def penalty(self) -> torch.Tensor:
        """Mean absolute value of the acting gates: the L1 term of the loss."""
        return self.effective().abs().mean()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Puts the values back into [0, 1]; to be called after every optimiser step."""
        self.values.clamp_(0.0, 1.0)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within it the model behaves as if it had no gates."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before


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
