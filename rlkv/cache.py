"""SplitHeadCache: kept heads grow with the text, compressed heads hold sinks and a ring.

Memory is what the tensors really occupy (`nbytes`). Keys are stored after RoPE at their true
positions, so evicting needs no re-rotation and slots may stand in any order.
"""

from __future__ import annotations

import copy

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from rlkv.attention import NewTokens, StreamingWindow, enable, grouped_sdpa, row_starts
from rlkv.errors import UserError
from rlkv.masks import HeadMask

STEP = 8
"""Tokens by which a store grows at least; long ones grow by 1/128 to bound the copying."""


class Store:
    """Keys and values of some heads, `[B, heads, capacity, D]`, grown in small steps."""

    def __init__(self) -> None:
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def reserve(self, tokens: int, like: torch.Tensor, limit: int | None = None) -> None:
        """Makes room for `tokens` a head; keeps what is there. `limit` caps the capacity."""
        have = 0 if self.keys is None else self.keys.shape[2]
        if tokens <= have:
            return
        capacity = max(-(-tokens // STEP) * STEP, have + have // 128)
        if limit is not None:
            capacity = min(capacity, limit)
        self.keys = self._grown(self.keys, capacity, like)
        self.values = self._grown(self.values, capacity, like)

    @staticmethod
    def _grown(old: torch.Tensor | None, capacity: int, like: torch.Tensor) -> torch.Tensor:
        batch, heads, _, dim = like.shape
        new = like.new_zeros(batch, heads, capacity, dim)
        if old is not None:
            new[:, :, : old.shape[2]] = old
        return new

    def first(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of the first `tokens` slots."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys[:, :, :tokens], self.values[:, :, :tokens]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given batch rows, in that order, in storage of their own."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, rows.to(self.keys.device))
            self.values = self.values.index_select(0, rows.to(self.values.device))

    @property
    def nbytes(self) -> int:
        """Bytes of the storage behind both tensors."""
        tensors = (self.keys, self.values)
        return sum(t.untyped_storage().nbytes() for t in tensors if t is not None)


class SplitHeadLayer(CacheLayerMixin):
    """One layer's cache; `kept` is bool `[kv_heads]`."""

    is_sliding = False  # the model then sizes its mask for the full heads
    is_compileable = False
    is_croppable = False  # a compressed head cannot get back what it dropped
    supports_early_init = False

    def __init__(self, kept: torch.Tensor, window: StreamingWindow) -> None:
        super().__init__()
        self.window = window
        self.n_full = int(kept.sum())
        # Kept heads first; the inverse puts outputs back into the model's order.
        self.order = (~kept).int().argsort(stable=True)
        self.inverse = self.order.argsort()
        self.reset()

    # --- what transformers calls ----------------------------------------------------------

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.order = self.order.to(key_states.device)
        self.inverse = self.inverse.to(key_states.device)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[NewTokens, torch.Tensor]:
        """Counts the tokens and hands them to attention, which stores them (`attend`)."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.seen += key_states.shape[2]
        return NewTokens(self, key_states, value_states), value_states

    def get_seq_length(self) -> int:
        """Tokens seen, not tokens stored: positions are counted from it."""
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.seen + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        """Forgets everything and frees the memory."""
        self.full = Store()
        self.ring = Store()
        self.seen = 0
        self.starts: list[int] = []

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        rows = torch.arange(len(self.starts))[indices.cpu()]
        self.full.select(rows)
        self.ring.select(rows)
        self.starts = [self.starts[i] for i in rows.tolist()]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        self.batch_select_indices(torch.arange(len(self.starts)).repeat_interleave(repeats))

    def crop(self, max_length: int) -> None:
        raise UserError("A compressed cache can't be cut back; build a new one for the new text.")

    @property
    def nbytes(self) -> int:
        return self.full.nbytes + self.ring.nbytes

    # --- attention ------------------------------------------------------------------------

    def attend(
        self, query: torch.Tensor, new: NewTokens, mask: torch.Tensor | None, scaling: float | None
    ) -> torch.Tensor:
        """Stores the new tokens and attends, `[B, kv_heads, G, T, D]` in and out."""
        self._find_starts(mask, len(query), query.shape[3])
        if self.n_full == len(self.order):
            return self._attend_full(query, new.keys, new.values, mask, scaling)
        if not self.n_full:
            return self._attend_ring(query, new.keys, new.values, scaling)
        n = self.n_full
        q, k, v = (x.index_select(1, self.order) for x in (query, new.keys, new.values))
        full = self._attend_full(q[:, :n], k[:, :n], v[:, :n], mask, scaling)
        ring = self._attend_ring(q[:, n:], k[:, n:], v[:, n:], scaling)
        return torch.cat([full, ring], dim=1).index_select(1, self.inverse)

    def _find_starts(self, mask: torch.Tensor | None, batch: int, length: int) -> None:
        """Columns of the rows' first real tokens; known for good once every row has one."""
        if self.starts and max(self.starts) < self.seen - length:
            return
        self.starts = [0] * batch if mask is None else row_starts(mask).tolist()

    def _attend_full(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float | None,
    ) -> torch.Tensor:
        self.full.reserve(self.seen, key)
        keys, values = self.full.first(self.seen)
        keys[:, :, self.seen - key.shape[2] :] = key
        values[:, :, self.seen - key.shape[2] :] = value
        return grouped_sdpa(query, keys, values, mask, scaling)

    def _attend_ring(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
    ) -> torch.Tensor:
        if key.shape[2] == 1 and max(self.starts) < self.seen:
            return self._decode_ring(query, key, value, scaling)
        return self._prefill_ring(query, key, value, scaling)

    def _decode_ring(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
    ) -> torch.Tensor:
        """One token a row: overwrite the oldest slot, then attend to what is held."""
        sink, recent = self.window.sink, self.window.recent
        lengths = [self.seen - start for start in self.starts]  # real tokens, this one included
        held = min(max(lengths), sink + recent)
        self.ring.reserve(held, key, limit=sink + recent)
        slots = [n - 1 if n <= sink else sink + (n - 1 - sink) % recent for n in lengths]
        keys, values = self.ring.first(held)
        if len(set(slots)) == 1:
            keys[:, :, slots[0]] = key[:, :, 0]
            values[:, :, slots[0]] = value[:, :, 0]
        else:
            rows = torch.arange(len(slots), device=key.device)
            where = torch.tensor(slots, device=key.device)
            keys[rows, :, where] = key[:, :, 0]
            values[rows, :, where] = value[:, :, 0]
        mask = None
        if min(lengths) < held:  # a shorter row has not filled its slots yet
            filled = torch.tensor(lengths, device=key.device)[:, None]
            mask = (torch.arange(held, device=key.device) < filled)[:, None, None]
        return grouped_sdpa(query, keys, values, mask, scaling)

    def _prefill_ring(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
    ) -> torch.Tensor:
        """A chunk: attend to the slots held before and to the chunk itself, then evict."""
        length = key.shape[2]
        before = self.seen - length
        start = torch.tensor(self.starts, device=key.device)[:, None]  # [B, 1]
        old = self._slot_positions(before - start)  # [B, slots], -1 where empty
        chunk = torch.arange(before, self.seen, device=key.device) - start  # [B, T]
        position = torch.cat([old, chunk], dim=1)
        mask = self.window.visible(chunk[:, None, :, None], position[:, None, None, :])
        mask[..., old.shape[1] :] |= torch.eye(length, dtype=torch.bool, device=key.device)
        if old.shape[1]:
            old_keys, old_values = self.ring.first(old.shape[1])
            key, value = torch.cat([old_keys, key], 2), torch.cat([old_values, value], 2)
        out = grouped_sdpa(query, key, value, mask, scaling)
        self._keep_window(key, value, before - start, old.shape[1])
        return out

    def _slot_positions(self, lengths: torch.Tensor) -> torch.Tensor:
        """Position held by each slot `[B, slots]` after `lengths` `[B, 1]` tokens; -1 if none."""
        sink, recent = self.window.sink, self.window.recent
        held = min(max(int(lengths.max()), 0), sink + recent)
        slot = torch.arange(held, device=lengths.device)
        last = lengths - 1
        newest = slot + (last - slot).div(recent, rounding_mode="floor") * recent
        position = torch.where(slot < sink, slot, newest)
        return torch.where(slot <= last, position, -1)

    def _keep_window(
        self, key: torch.Tensor, value: torch.Tensor, lengths: torch.Tensor, n_old: int
    ) -> None:
        """Gathers what the slots hold now out of old slots and chunk, into fresh storage."""
        chunk = key.shape[2] - n_old
        position = self._slot_positions(lengths + chunk)  # [B, slots]
        slot = torch.arange(position.shape[1], device=key.device)
        # In the chunk, position p of a row stands `p - lengths` columns after its start.
        source = torch.where(position >= lengths, n_old + position - lengths, slot)
        source = torch.where(position < 0, 0, source)
        index = source[:, None, :, None].expand(-1, key.shape[1], -1, key.shape[3])
        self.ring.keys = key.gather(2, index)
        self.ring.values = value.gather(2, index)


class SplitHeadCache(Cache):
    """The KV cache of one model under one mask: pass it as `past_key_values`.

    Any number of them, with different masks, serve one loaded model side by side. After
    `generate` the whole conversation and the same cache continue it.

    Raises:
        UserError: if the mask's shape is not the model's.
    """

    def __init__(self, model: PreTrainedModel, mask: HeadMask) -> None:
        config = model.config
        mask.require_shape(config.num_hidden_layers, config.num_key_value_heads, "this model")
        enable(model)
        window = StreamingWindow(mask.sink, mask.recent)
        super().__init__(
            layers=[SplitHeadLayer(torch.from_numpy(row.copy()), window) for row in mask.kept]
        )
        self.mask = mask

    def fork(self) -> SplitHeadCache:
        """A copy that goes its own way: the conversation up to here need not be read again."""
        return copy.deepcopy(self)

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values held now, read from the tensors' storage."""
        return sum(layer.nbytes for layer in self.layers)
