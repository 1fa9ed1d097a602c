"""Which layers of a model can have gates, found by running its code on no data.

A model is served by what it does, not by its name. From the configuration alone the model is
built without memory (torch's meta device) and run on two tokens. Every layer has to hand new keys
and values to its cache once, and then call the attention function with them: that is what the
split cache and the gates build on. What can't be served is refused with the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import Cache

from rlkv.attention import NewTokens
from rlkv.errors import UserError, first_line
from rlkv.feeding import feed
from rlkv.streaming import StreamingWindow

_known: dict[str, Layout] = {}
_LAYER_TYPES = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Layer:
    """One layer's attention."""

    module: str
    """Path of the attention module in the model."""
    kv_heads: int
    group: int
    """Query heads that share one KV head."""
    head_dim: int
    window: int | None
    """Tokens that a sliding-window layer sees; None for full attention, the layers with gates."""


@dataclass(frozen=True)
class Layout:
    """The attention layers of a model, in order."""

    layers: tuple[Layer, ...]

    @property
    def gated(self) -> tuple[int, ...]:
        """Indices of the layers with full attention: row r of a mask belongs to layer gated[r]."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.window is None)

    @property
    def shape(self) -> tuple[int, int]:
        """(layers with gates, KV heads): the shape of gates and masks."""
        return len(self.gated), self.layers[self.gated[0]].kv_heads

    def sliding_numbers(self, length: int) -> int:
        """Numbers that the sliding layers cache for one row of `length` tokens."""
        return sum(
            2 * layer.head_dim * layer.kv_heads * min(length, layer.window)
            for layer in self.layers
            if layer.window is not None
        )


class Unserved(Exception):
    """A model does something that the split cache can't serve; the message says what."""


def examine(config: PreTrainedConfig) -> Layout:
    """Finds a model's attention layers; takes well under a second and no memory.

    Raises:
        Unserved: if the model can't be served.
    """
    decoder = config.get_text_config(decoder=True)
    other = set(getattr(decoder, "layer_types", None) or []) - _LAYER_TYPES
    if other:
        raise Unserved(f"it has layers of another kind ({', '.join(sorted(other))})")
    key = type(config).__name__ + config.to_json_string(use_diff=False)
    if key not in _known:
        _known[key] = _examine(copy.deepcopy(config))  # building a model changes its config
    return _known[key]


def layout_of(model: PreTrainedModel) -> Layout:
    """The layout of a loaded model, found once.

    Raises:
        UserError: if the model can't be served.
    """
    known: Layout | None = model.__dict__.get("_rlkv_layout")
    if known is None:
        try:
            known = examine(model.config)
        except Unserved as error:
            raise UserError(f"This model can't be served: {error}.") from error
        model.__dict__["_rlkv_layout"] = known
    return known


def _examine(config: PreTrainedConfig) -> Layout:
    try:
        probe = _Probe(config.get_text_config(decoder=True).num_hidden_layers)
        token = _running.set(probe)
        try:
            probe.follow(config)
        finally:
            _running.reset(token)
    except Unserved:
        raise
    except Exception as error:  # whatever foreign code raises is a reason to refuse
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        message = f"its attention can't be followed ({reason})"
        raise Unserved(message) from error
    return probe.layout()


class _Probe:
    """Writes down what each layer does with its cache and with the attention function."""

    def __init__(self, layers: int) -> None:
        self.cache = _ProbeCache(layers)
        self.found: list[Layer | None] = [None] * layers
        self.names: dict[int, str] = {}

    @torch.no_grad()
    def follow(self, config: PreTrainedConfig) -> None:
        """Builds the model without memory and runs two tokens through it."""
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        model.eval().set_attn_implementation(_PROBE)
        if model._can_set_experts_implementation():
            model.set_experts_implementation("batched_mm")  # the others need data to route
        self.names = {id(module): name for name, module in model.named_modules()}
        ids = torch.zeros(1, 2, dtype=torch.long, device="meta")
        # With a mask given, no model looks for padding in ids that hold no data.
        real = torch.ones(1, 2, dtype=torch.long, device="meta")
        feed(model, self.cache, input_ids=ids, attention_mask=real, use_cache=True)

    def saw(self, module: nn.Module, index: int, layer: Layer) -> None:
        if self.found[index] is not None:
            raise Unserved(f"layer {index} runs attention more than once")
        self.found[index] = layer

    def layout(self) -> Layout:
        missing = [str(i) for i, layer in enumerate(self.found) if layer is None]
        if missing:
            raise Unserved(f"layers without an ordinary KV cache: {', '.join(missing)}")
        if not self.found:
            raise Unserved("it has no layers")
        layout = Layout(tuple(layer for layer in self.found if layer is not None))
        if not layout.gated:
            raise Unserved("all its layers have a sliding window, so they keep a short cache as is")
        shapes = {(layout.layers[i].kv_heads, layout.layers[i].head_dim) for i in layout.gated}
        if len(shapes) > 1:
            raise Unserved("its full-attention layers differ in KV heads or head size")
        return layout


class _ProbeCache(Cache):
    """Hands over new tokens the way a split cache does."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[])
        self.filled: set[int] = set()
        self.n_layers = layers

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any,
        **kwargs: Any,
    ) -> tuple[Any, torch.Tensor]:  # fmt: skip
        if layer_idx in self.filled or not 0 <= layer_idx < self.n_layers:
            raise Unserved(f"layer {layer_idx} fills its cache more than once")
        if key_states.shape != value_states.shape:
            raise Unserved("its keys and values differ in size (latent attention)")
        self.filled.add(layer_idx)
        return NewTokens(layer_idx, key_states, value_states), value_states  # type: ignore[arg-type]


_running: ContextVar[_Probe] = ContextVar("rlkv_probe")


def _probe_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: Any,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Stands in for `rlkv_attention` and checks that it could have done the work."""
    if not isinstance(key, NewTokens) or value is not key.values:
        raise Unserved("a layer attends to keys that do not come straight from its own cache")
    index: int = key.layer  # type: ignore[assignment]  # see _ProbeCache.update
    batch, heads, length, dim = query.shape
    kv_heads = key.keys.shape[1]
    if heads % kv_heads or key.keys.shape[3] != dim:
        raise Unserved(f"layer {index} has {heads} query heads over {kv_heads} KV heads")
    unknown = [name for name, given in kwargs.items() if not _harmless(name, given)]
    if unknown:
        raise Unserved(f"its attention takes {', '.join(sorted(unknown))}")
    window = getattr(attention_mask, "_rlkv_window", "none")
    if window in ("none", "other") or window != sliding_window:
        raise Unserved("its attention is neither causal nor a plain sliding window")
    probe = _running.get()
    name = probe.names[id(module)]
    probe.saw(module, index, Layer(name, kv_heads, heads // kv_heads, dim, window))
    return query.new_zeros(batch, length, heads, dim), None


def _harmless(name: str, given: Any) -> bool:
    """Whether an argument of an attention call is served, or changes nothing."""
    if name in ("dropout", "scaling", "position_ids", "use_cache", "softcap", "s_aux"):
        return True
    if name == "is_causal":
        return given is None or bool(given)
    return given is None or name.startswith("output_") or name == "logits_to_keep"


def _probe_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    mask_function: Callable[..., torch.Tensor],
    local_size: int | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """A stand-in mask that carries the window of the rule it stands for."""
    size = local_size or 8
    point = torch.tensor([0, 1, 2, size - 1, size, size + 1, 2 * size, 3 * size + 1])
    zero = torch.tensor(0)
    window = StreamingWindow(0, local_size or 1 << 40)
    mask = torch.empty(batch_size, 1, q_length, kv_length, dtype=torch.bool, device="meta")
    try:
        seen = mask_function(zero, zero, point[:, None], point).expand(len(point), len(point))
        plain = torch.equal(seen, window.visible(point[:, None], point))
    except (RuntimeError, IndexError, TypeError):  # a rule that needs more than positions
        plain = False
    mask._rlkv_window = local_size if plain else "other"  # type: ignore[attr-defined]
    return mask


_PROBE = "rlkv_probe"
AttentionInterface.register(_PROBE, _probe_attention)
AttentionMaskInterface.register(_PROBE, _probe_mask)
