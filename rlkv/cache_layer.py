"""What all caches are made of: storage that grows, and a layer that counts tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from rlkv.attention import NewTokens
from rlkv.errors import UserError
from rlkv.padding import Rows
from rlkv.turning_positions import require_unturned, turns_at

STEP = 8
"""Tokens by which a store grows at least; long ones grow by 1/128 to bound the copying."""


class Store:
    """Keys and values of some heads in one tensor `[2, B, heads, capacity, D]`."""

    def __init__(self) -> None:
        self.data: torch.Tensor | None = None

    def reserve(self, tokens: int, like: torch.Tensor, limit: int | None = None) -> None:
        """Makes room for `tokens` a head; keeps what is there. `limit` caps the capacity."""
        have = 0 if self.data is None else self.data.shape[3]
        if have >= (tokens if limit is None else min(tokens, limit)):
            return
        capacity = max(-(-tokens // STEP) * STEP, have + have // 128)
        if limit is not None:
            capacity = min(capacity, limit)
        old = self.data
        self.data = like.new_empty(*like.shape[:3], capacity, like.shape[4])
        self.data[:, :, :, have:] = 0  # a hidden slot may hold anything but NaN
        if old is not None:
            self.data[:, :, :, :have] = old

    def first(self, tokens: int) -> torch.Tensor:
        """A view of the first `tokens` slots, `[2, B, heads, tokens, D]`."""
        assert self.data is not None
        return self.data.narrow(3, 0, tokens)

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given batch rows, in that order, in storage of their own."""
        if self.data is not None:
            self.data = self.data.index_select(1, rows.to(self.data.device))

    @property
    def address(self) -> int:
        """Where the tensor lies; 0 without one."""
        return 0 if self.data is None else self.data.data_ptr()

    def row_bytes(self, slots: int | None = None) -> int:
        """Bytes of so many slots of one row; None is all of them."""
        if self.data is None:
            return 0
        per_slot = self.data[:, :1, :, :1].numel() * self.data.itemsize
        return per_slot * (self.data.shape[3] if slots is None else slots)

    @property
    def nbytes(self) -> int:
        """Bytes of the storage behind the tensor."""
        return 0 if self.data is None else self.data.untyped_storage().nbytes()


class CountingLayer(CacheLayerMixin):
    """One layer's cache as transformers sees it, whatever it holds of the tokens it has seen."""

    is_sliding = False  # the model then sizes its masks for all tokens seen
    is_compileable = False
    is_croppable = False  # what was dropped can't be had back
    supports_early_init = False
    seen: int
    turns_at: int | None = None
    """Of the model (`rlkv.turning_positions`); set by the cache that the layer belongs to."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.is_initialized = True

    def get_seq_length(self) -> int:
        """Tokens seen, not tokens stored: positions are counted from it."""
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.seen + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def count(self, tokens: int) -> None:
        """Counts new tokens of each row.

        Raises:
            UserError: if the model's positions can't go on from what is held.
        """
        require_unturned(self.turns_at, self.seen, self.seen + tokens)
        self.seen += tokens

    def reset(self) -> None:
        """Forgets everything and frees the memory."""
        self.seen = 0


class CountingCache(Cache):
    """The caches of a model's layers, which keep to its positions."""

    def __init__(self, model: PreTrainedModel, layers: Sequence[CountingLayer]) -> None:
        super().__init__(layers=list(layers))
        limit = turns_at(model.config)
        for layer in layers:
            layer.turns_at = limit


class CompressedLayer(CountingLayer):
    """One that keeps less than it sees, so attention itself stores the new tokens (`attend`)."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[NewTokens, torch.Tensor]:
        """Counts the tokens and hands them to attention."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.count(key_states.shape[2])
        return NewTokens(self, key_states, value_states), value_states

    def crop(self, max_length: int) -> None:
        raise UserError(
            "A compressed cache can't be cut back: build a new one for the new text, and generate "
            "without an assistant model or prompt lookup."
        )


def require_left_padding(mask: torch.Tensor | None, length: int, what: str) -> None:
    """Refuses what a compressed cache can't follow: it counts a row's tokens from the first on.

    Args:
        mask: as attention gets it, over all tokens seen.
        length: new tokens a row. A single one is not looked at, so that decoding never waits for
            the device; masks of generated tokens are as those of the prompt.
        what: the cache, to begin the sentence with.

    Raises:
        UserError: for a mask of one's own, and for padding between or behind real tokens, as in the
            second turn of rows that were padded to one length.
    """
    if mask is None or length == 1:
        return
    if mask.shape[2] == length or not Rows.of(mask).left_only:
        raise UserError(f"{what} needs plain causal attention, with padding on the left only.")
