"""DuoAttention's own procedure (Xiao et al. 2024, arXiv 2410.10819): gates by distillation.

The model is frozen and every KV head has a gate, 1 at first, that mixes full with streaming
attention (`rlkv.gates`). On texts with passkeys (`rlkv.baselines.passkeys`) the model's final
hidden states with gates are held against those without, at the tokens that repeat a passkey:

    loss = mean (h_gated - h_full)^2 + penalty * mean |a|

Gates of heads that fetch passkeys from far away stay up, the others fall. The model need not be
able to repeat passkeys by itself: the answers are given, and hidden states are compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.attention import enable
from rlkv.baselines.duo_settings import DuoSettings
from rlkv.baselines.passkeys import PasskeyText, PasskeyTexts, passkey_texts
from rlkv.errors import UserError
from rlkv.explore.stopping import Stop, check, never
from rlkv.explore.watching import rows_of
from rlkv.gates import Gates
from rlkv.layout import layout_of
from rlkv.models import max_length


class DuoStep(NamedTuple):
    """One optimiser step, counted from 1."""

    step: int
    loss: float
    distance: float
    """Mean squared difference of the hidden states, the loss without its penalty."""
    mean_gate: float


OnStep = Callable[[DuoStep], None]
ByModule = dict[nn.Module, tuple[Gates, int]]


def duo_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: DuoSettings,
    *,
    on_step: OnStep | None = None,
    stop: Stop = never,
) -> NDArray[np.float32]:
    """Gates in [0, 1] after the training, float32 `[layers, kv_heads]`; higher is more needed.

    The same for the same model, settings and machine. Gates are handed to each pass and never
    attached, so that chats on the same model notice nothing.

    Raises:
        UserError: if the model can't read the texts.
        Stopped: if `stop()` says so, asked before every step.
    """
    limit = max_length(model.config)
    if settings.longest > limit:
        raise UserError(
            f"The longest passkey text has {settings.longest} tokens but the model reads at most "
            f"{limit}: choose shorter texts."
        )
    texts = passkey_texts(tokenizer, settings)
    return distilled(model, texts, settings, on_step=on_step, stop=stop)


@torch.inference_mode(False)
@torch.enable_grad()
def distilled(
    model: PreTrainedModel,
    texts: PasskeyTexts,
    settings: DuoSettings,
    *,
    on_step: OnStep | None = None,
    stop: Stop = never,
) -> NDArray[np.float32]:
    """`duo_scores` on given texts."""
    enable(model)
    gates = Gates(*layout_of(model).shape, settings.sink, settings.recent).to(model.device)
    by_module: ByModule = {module: (gates, row) for module, row in rows_of(model).items()}
    optimiser = torch.optim.AdamW([gates.values], lr=settings.learning_rate, weight_decay=0.0)
    rng, lengths = random.Random(settings.seed), settings.lengths_of_texts()
    for step in range(settings.steps):
        check(stop)
        text = _drawn(texts, rng, lengths, max_length(model.config))
        gates.clamp_()
        far = distance(model, text, by_module)
        loss = far + settings.penalty * gates.penalty()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * settings.rate(step)
        optimiser.step()
        if on_step is not None:
            mean = float(gates.values.detach().clamp(0.0, 1.0).mean())
            on_step(DuoStep(step + 1, float(loss.detach()), float(far.detach()), mean))
    gates.clamp_()
    return gates.values.detach().cpu().numpy()


def distance(model: PreTrainedModel, text: PasskeyText, by_module: ByModule) -> torch.Tensor:
    """Mean squared difference of the final hidden states with gates and without, a number.

    Over the answer's tokens and all dimensions, after the last norm, in float32.
    """
    tokens = torch.tensor([text.ids], device=model.device)
    answer = torch.tensor(text.answer, device=model.device)

    def hidden(**gated: ByModule) -> torch.Tensor:
        states = model.base_model(input_ids=tokens, use_cache=False, **gated).last_hidden_state
        return states[0, answer].float()

    with torch.no_grad():
        # An empty mapping: gates that happen to be attached don't act.
        full = hidden(rlkv_gates={})
    return (hidden(rlkv_gates=by_module) - full).square().mean()


def _drawn(texts: PasskeyTexts, rng: random.Random, lengths: list[int], limit: int) -> PasskeyText:
    text = texts.draw(rng.choice(lengths), rng)
    if len(text.ids) > limit:
        raise UserError(
            f"A text with its passkeys has {len(text.ids)} tokens but the model reads at most "
            f"{limit}: choose fewer or shorter passkeys."
        )
    return text
