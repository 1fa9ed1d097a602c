"""Caches that drop tokens: every head of the model holds the same number, and chooses its own.

`SplitHeadCache` compresses some heads by one fixed rule; the methods built on this keep in every
head the tokens that score best. They get the same bytes (`rlkv.baselines.budget`). Positions
stay true: keys are stored after RoPE at the place they had in the text, and `get_seq_length`
counts tokens seen, so that later tokens get their true positions too.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from transformers import PreTrainedModel

from rlkv.attention import NewTokens, enable
from rlkv.baselines.budget import Budget, EqualBytes
from rlkv.baselines.occupancy import Occupancy, Pass
from rlkv.cache import SplitHeadLayer
from rlkv.cache_layer import CompressedLayer, CountingCache, Store, require_left_padding
from rlkv.clock import Clock
from rlkv.errors import UserError
from rlkv.grouped import ScoreRule
from rlkv.layout import Layer, layout_of
from rlkv.masks import HeadMask
from rlkv.streaming import StreamingWindow

BLOCK_NUMBERS = 1 << 24
"""Attention weights or mask elements computed at once: bounds the memory of long prompts."""


class StateBytes(NamedTuple):
    """What a method keeps besides keys and values."""

    token: int
    """Bytes for each token and head."""
    head: int
    """Bytes for each head whatever the length."""


class DroppingLayer(CompressedLayer):
    """One layer's cache: a row's tokens fill the first slots of each head."""

    def __init__(self, clock: Clock, occupancy: Occupancy) -> None:
        super().__init__()
        self.clock, self.occupancy = clock, occupancy
        self.reset()

    # --- what a method says -----------------------------------------------------------------

    @staticmethod
    def state_bytes(layer: Layer, itemsize: int) -> StateBytes:
        """Bytes kept besides keys and values."""
        raise NotImplementedError

    @staticmethod
    def keeps(total: int, budget: int) -> int:
        """Tokens left after a pass in which a head attended to `total`."""
        raise NotImplementedError

    def _read(
        self, query: torch.Tensor, joined: torch.Tensor, step: Pass, rule: ScoreRule
    ) -> torch.Tensor:
        """New tokens, with what was held before them, `[2, B, kv_heads, columns, D]`: attend,
        evict, store."""
        raise NotImplementedError

    def _decode(
        self, query: torch.Tensor, new: torch.Tensor, step: Pass, rule: ScoreRule
    ) -> torch.Tensor:
        """One token a row, `new` `[2, B, kv_heads, 1, D]`; a method may know a faster way."""
        return self._read(query, _joined(self.kv, new, step), step, rule)

    @property
    def of_tokens(self) -> list[Store]:
        """What is held for each token, one slot each."""
        return [self.kv]

    @property
    def of_heads(self) -> list[Store]:
        """What else is held between steps."""
        return []

    # --- what transformers calls ------------------------------------------------------------

    def reset(self) -> None:
        super().reset()
        self.kv = Store()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        tokens = max(self.occupancy.held)  # of the rows that are left
        for store in self.of_tokens:
            if store.data is not None:
                store.data = store.first(min(tokens, store.data.shape[3]))
            store.select(indices)
        for store in self.of_heads:
            store.select(indices)

    @property
    def nbytes(self) -> int:
        return sum(store.nbytes for store in [*self.of_tokens, *self.of_heads])

    def row_bytes(self, row: int, tokens: int) -> int:
        """Bytes of the slots that a row fills, and of what it has besides."""
        held = sum(store.row_bytes(self.occupancy.held[row]) for store in self.of_tokens)
        return held + sum(store.row_bytes() for store in self.of_heads)

    # --- attention --------------------------------------------------------------------------

    def attend(
        self, query: torch.Tensor, new: NewTokens, mask: torch.Tensor | None, rule: ScoreRule
    ) -> torch.Tensor:
        """Stores the new tokens, attends and evicts, `[B, kv_heads, G, T, D]` in and out."""
        length = query.shape[3]
        require_left_padding(mask, length, "A cache that drops tokens")
        self.clock.tick(self.seen, length, mask)
        step = self.occupancy.advance(self.seen, length, len(query), query.device)
        both = torch.stack((new.keys, new.values))
        if length == 1 and self.clock.all_begun:
            return self._decode(query, both, step, rule)
        return self._read(query, _joined(self.kv, both, step), step, rule)


class DroppingCache(CountingCache):
    """The KV cache of a model that drops tokens in every head: pass it as `past_key_values`.

    At every length a row holds no more bytes than it would in a `SplitHeadCache` under
    `reference`, by the formula in `rlkv.baselines.budget`, with all that the method keeps
    between steps. Rows of a batch share one storage, which is as large as that of its longest
    row. Layers with a sliding window of their own are the rings that a split cache has there.

    Args:
        reference: the mask whose bytes may be used.
        budget: tokens a head by length, in place of those that the bytes of `reference` allow.

    Raises:
        UserError: if the model can't be served or the mask's shape is not the model's.
    """

    layer_class: ClassVar[type[DroppingLayer]]

    def __init__(
        self, model: PreTrainedModel, reference: HeadMask, *, budget: Budget | None = None
    ) -> None:
        layout = layout_of(model)
        reference.require_shape(*layout.shape, "this model")
        enable(model)
        gated, itemsize = layout.layers[layout.gated[0]], model.dtype.itemsize
        state = self.layer_class.state_bytes(gated, itemsize)
        self.reference = reference
        self.budget = budget or EqualBytes(reference, gated.head_dim, itemsize, *state)
        self.clock = Clock()
        self.occupancy = Occupancy(self.clock, self.budget, self.layer_class.keeps)
        super().__init__(model, [self._layer(layer) for layer in layout.layers])

    def _layer(self, layer: Layer) -> DroppingLayer | SplitHeadLayer:
        if layer.window is None:
            return self.layer_class(self.clock, self.occupancy)
        none_kept = torch.zeros(layer.kv_heads, dtype=torch.bool)
        return SplitHeadLayer(none_kept, StreamingWindow(0, layer.window), self.clock)

    @property
    def held(self) -> list[int]:
        """Tokens that each row holds in every head."""
        return list(self.occupancy.held)

    @property
    def nbytes(self) -> int:
        """Bytes held now, read from the tensors' storage: keys, values, and what ranks them."""
        return sum(layer.nbytes for layer in self.layers)

    def row_bytes(self, row: int, tokens: int) -> int:
        """Bytes of what one row holds of its `tokens`: without padding and room to grow."""
        return sum(layer.row_bytes(row, tokens) for layer in self.layers)

    def reset(self) -> None:
        """Forgets everything and frees the memory."""
        super().reset()
        self.clock.reset()
        self.occupancy.reset()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps the batch rows `indices`, in that order; an index may repeat."""
        rows = indices.tolist()
        self.clock.select(rows)
        self.occupancy.select(rows)
        super().batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times, side by side."""
        rows = torch.arange(len(self.occupancy.held)).repeat_interleave(repeats)
        self.batch_select_indices(rows)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Refused: beam search would copy the whole cache for every token.

        Raises:
            UserError: always.
        """
        raise UserError("Beam search is not supported: use greedy decoding or sampling.")


def _joined(held: Store, new: torch.Tensor, step: Pass) -> torch.Tensor:
    """Held and new tokens `[2, B, kv_heads, columns, D]`, each row's real ones from column 0."""
    slots = max(step.before)
    both = torch.cat([held.first(slots), new], dim=3) if slots else new
    if step.joined is None:
        return both
    index = step.joined[None, :, None, :, None]
    return both.gather(3, index.expand(2, -1, both.shape[2], -1, both.shape[4]))


def best_columns(priority: torch.Tensor, counts: torch.Tensor, most: int) -> torch.Tensor:
    """Columns of the highest priorities, in ascending order.

    Args:
        priority: `[B, kv_heads, K]`; of equal ones the first is taken.
        counts: how many of each row, `[B]`.
        most: the largest of them.

    Returns:
        `[B, kv_heads, most]`; what lies beyond a row's count is some column, not to be read.
    """
    order = priority.argsort(dim=-1, descending=True, stable=True)[..., :most]
    beyond = torch.arange(most, device=order.device) >= counts[:, None, None]
    last = priority.shape[-1] - 1
    return order.masked_fill(beyond, last + 1).sort(dim=-1).values.clamp(max=last)


def gathered(x: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Columns `[B, kv_heads, K]` of `[n, B, kv_heads, slots, D]`, in storage of their own."""
    index = columns[None, ..., None].expand(x.shape[0], -1, -1, -1, x.shape[4])
    return x.gather(3, index)
