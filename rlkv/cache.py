"""SplitHeadCache: kept heads grow with the text, compressed heads hold sinks and a ring.

Memory is what the tensors really occupy (`nbytes`). Keys are stored after RoPE at their true
positions, so evicting needs no re-rotation and slots may stand in any order. Layers of a model
that have a sliding window of their own are rings without sinks.
"""

from __future__ import annotations

import copy
import sys

import torch
from transformers import PreTrainedModel

from rlkv.attention import NewTokens, enable
from rlkv.cache_layer import CompressedLayer, CountingCache, Store, require_left_padding
from rlkv.clock import Clock, Ring
from rlkv.errors import UserError
from rlkv.grouped import ScoreRule, grouped_attention
from rlkv.layout import layout_of
from rlkv.masks import HeadMask
from rlkv.streaming import StreamingWindow

PIECE, PIECE_ON_GPU = 256, 1024
"""Tokens of a long prompt that compressed heads take at once: few where keys read in vain cost
most, many where it is the number of kernels."""


class SplitHeadLayer(CompressedLayer):
    """One layer's cache; `kept` is bool `[kv_heads]`, `clock` is shared by all layers."""

    def __init__(self, kept: torch.Tensor, window: StreamingWindow, clock: Clock) -> None:
        super().__init__()
        self.window = window
        self.clock = clock
        # Kept heads first; the inverse puts outputs back into the model's order.
        order = (~kept).int().argsort(stable=True)
        self.n_full = int(kept.sum())
        self.n_ring = len(kept) - self.n_full
        self.full_heads, self.ring_heads = order[: self.n_full], order[self.n_full :]
        self.inverse = order.argsort()
        self.reset()

    # --- what transformers calls ----------------------------------------------------------

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        device = key_states.device
        self.full_heads = self.full_heads.to(device)
        self.ring_heads = self.ring_heads.to(device)
        self.inverse = self.inverse.to(device)
        super().lazy_initialization(key_states, value_states)

    def reset(self) -> None:
        super().reset()
        self.full = Store()
        self.ring = Store()

    def make_room(self, tokens: int) -> None:
        """Grows what is held already to hold `tokens` a row."""
        if self.full.data is not None:
            self.full.reserve(tokens, self.full.data)
        if self.ring.data is not None:
            self.ring.reserve(tokens, self.ring.data, self.window.sink + self.window.recent)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self.full.select(indices)
        self.ring.select(indices)

    @property
    def nbytes(self) -> int:
        return self.full.nbytes + self.ring.nbytes

    def row_bytes(self, row: int, tokens: int) -> int:
        """Bytes of the slots that a row of `tokens` fills."""
        slots = min(tokens, self.window.sink + self.window.recent)
        return self.full.row_bytes(tokens) + self.ring.row_bytes(slots)

    # --- attention ------------------------------------------------------------------------

    def attend(
        self, query: torch.Tensor, new: NewTokens, mask: torch.Tensor | None, rule: ScoreRule
    ) -> torch.Tensor:
        """Stores the new tokens and attends, `[B, kv_heads, G, T, D]` in and out."""
        length = query.shape[3]
        require_left_padding(mask, length, "A split cache")
        self.clock.tick(self.seen, length, mask)
        both = torch.stack((new.keys, new.values))
        if not self.n_ring:
            return self._attend_full(query, both, mask, rule)
        if not self.n_full:
            return self._attend_ring(query, both, rule)
        full, ring = self.full_heads, self.ring_heads
        outs = [
            self._attend_full(
                query.index_select(1, full), both.index_select(2, full), mask, rule.of_heads(full)
            ),
            self._attend_ring(
                query.index_select(1, ring), both.index_select(2, ring), rule.of_heads(ring)
            ),
        ]
        return torch.cat(outs, dim=1).index_select(1, self.inverse)

    def _attend_full(
        self, query: torch.Tensor, new: torch.Tensor, mask: torch.Tensor | None, rule: ScoreRule
    ) -> torch.Tensor:
        if self.clock.at is not None:
            return self._attend_fixed(self.full, self.clock.at, query, new, rule)
        self.full.reserve(self.seen, new)
        held = self.full.first(self.seen)
        held.narrow(3, self.seen - new.shape[3], new.shape[3]).copy_(new)
        key, value = held.unbind()
        return grouped_attention(query, key, value, mask, rule)

    def _attend_ring(self, query: torch.Tensor, new: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        length = new.shape[3]
        if self.clock.at is not None:
            slot = self.clock.fixed_slot(self.window)
            return self._attend_fixed(self.ring, slot, query, new, rule)
        if length == 1 and self.clock.all_begun:
            return self._decode_ring(query, new, rule)
        size = PIECE_ON_GPU if query.is_cuda else PIECE
        outs = []
        for begin in range(0, length, size):
            end = min(begin + size, length)
            before = self.seen - length + begin
            ring = self.clock.piece(self.window, before, end - begin, query.device)
            piece = new[:, :, :, begin:end]
            outs.append(self._prefill_ring(query[:, :, :, begin:end], piece, ring, rule))
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=3)

    def _decode_ring(self, query: torch.Tensor, new: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """One token a row: overwrite the oldest slot, then attend to what is held."""
        ring = self.clock.decode(self.window, query.device)
        self.ring.reserve(ring.held, new, limit=self.window.sink + self.window.recent)
        held = self.ring.first(ring.held)
        if isinstance(ring.slot, int):
            held.narrow(3, ring.slot, 1).copy_(new)
        else:
            rows = torch.arange(len(ring.slot), device=new.device)
            held[:, rows, :, ring.slot] = new[:, :, :, 0].transpose(0, 1)
        key, value = held.unbind()
        return grouped_attention(query, key, value, ring.mask, rule)

    def _attend_fixed(
        self,
        store: Store,
        slot: torch.Tensor,
        query: torch.Tensor,
        new: torch.Tensor,
        rule: ScoreRule,
    ) -> torch.Tensor:
        """One token a row with shapes that don't depend on how many came before."""
        assert store.data is not None
        store.data.index_copy_(3, slot, new)
        key, value = store.data.unbind()
        return grouped_attention(query, key, value, self.clock.filled(key.shape[2]), rule)

    def _prefill_ring(
        self, query: torch.Tensor, new: torch.Tensor, ring: Ring, rule: ScoreRule
    ) -> torch.Tensor:
        """Attend to the slots held before and to the piece itself, then evict."""
        if ring.held:
            new = torch.cat([self.ring.first(ring.held), new], dim=3)
        out = grouped_attention(query, new[0], new[1], ring.mask, rule)
        # Gathered into fresh storage: a slice would keep the whole prompt alive.
        index = ring.slot
        assert isinstance(index, torch.Tensor)
        if len(index) == 1:
            self.ring.data = new.index_select(3, index[0])
        else:
            index = index[None, :, None, :, None].expand(2, -1, new.shape[2], -1, new.shape[4])
            self.ring.data = new.gather(3, index)
        return out


class SplitHeadCache(CountingCache):
    """The KV cache of one model under one mask: pass it as `past_key_values`.

    Any number of them, with different masks, serve one loaded model side by side. After
    `generate` the whole conversation and the same cache continue it. Rows of a batch may be
    padded on the left.

    Raises:
        UserError: if the model can't be served or the mask's shape is not the model's.
    """

    def __init__(self, model: PreTrainedModel, mask: HeadMask) -> None:
        layout = layout_of(model)
        mask.require_shape(*layout.shape, "this model")
        enable(model)
        self.clock = Clock()
        window = StreamingWindow(mask.sink, mask.recent)
        rows = iter(mask.kept)
        layers = []
        for layer in layout.layers:
            if layer.window is None:
                kept = torch.from_numpy(next(rows).copy())
                layers.append(SplitHeadLayer(kept, window, self.clock))
            else:
                kept = torch.zeros(layer.kv_heads, dtype=torch.bool)
                own = StreamingWindow(0, layer.window)
                layers.append(SplitHeadLayer(kept, own, self.clock))
        super().__init__(model, layers)
        self.mask = mask

    def fork(self) -> SplitHeadCache:
        """A copy that goes its own way: the conversation up to here need not be read again."""
        return copy.deepcopy(self)

    def set_seen(self, tokens: int) -> None:
        """Corrects the count of tokens after a pass that was replayed or only tried."""
        self.clock.set_seen(tokens)
        for layer in self.layers:
            layer.seen = tokens

    def addresses(self) -> tuple[int, ...]:
        """Where the tensors lie now; a captured step is good for as long as this is the same."""
        return tuple(s.address for layer in self.layers for s in (layer.full, layer.ring))

    def reset(self) -> None:
        """Forgets everything and frees the memory."""
        super().reset()
        self.clock.reset()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps the batch rows `indices`, in that order; an index may repeat."""
        self.clock.select(indices.tolist())
        super().batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times, side by side."""
        rows = torch.arange(self.batch_size).repeat_interleave(repeats)
        self.batch_select_indices(rows)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """The same as `batch_select_indices`.

        Raises:
            UserError: within beam search, which would copy the whole cache for every token.
        """
        if sys._getframe(1).f_code.co_name == "_beam_search":
            raise UserError(
                "Beam search would copy the compressed cache for every token, so it is not "
                "supported: use greedy decoding or sampling (num_beams=1)."
            )
        self.batch_select_indices(beam_idx)

    @property
    def batch_size(self) -> int:
        """Rows held; -1 before the first tokens."""
        for layer in self.layers:
            for store in (layer.full, layer.ring):
                if store.data is not None:
                    return int(store.data.shape[1])
        return -1

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values held now, read from the tensors' storage."""
        return sum(layer.nbytes for layer in self.layers)

    def row_bytes(self, row: int, tokens: int) -> int:
        """Bytes of what one row holds of its `tokens`: without padding and room to grow."""
        return sum(layer.row_bytes(row, tokens) for layer in self.layers)
