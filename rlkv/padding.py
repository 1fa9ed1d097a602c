"""Padding in place of masks: `[B, 1, 1, K]` says which keys are real, attention does the rest.

transformers would build bool masks of queries x keys. The mask function registered here gives
attention only the padding, or nothing where there is none; memory stays linear in the length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.masking_utils import causal_mask_function, prepare_padding_mask, sdpa_mask


def padding_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    **kwargs: Any,
) -> torch.Tensor | None:
    """The mask function of this project's attention.

    Returns:
        None without padding, else bool `[B, 1, 1, kv_length]`, for causal and sliding-window
        masks whose last query is the last key; anything else as transformers' own full mask.
    """
    plain = allow_is_causal_skip and (mask_function is causal_mask_function or local_size)
    if not plain or kv_offset + kv_length != q_offset + q_length:
        return sdpa_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask,
            local_size, allow_is_causal_skip=False, **kwargs,
        )  # fmt: skip
    padding = prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if padding is None:
        return None
    padding = padding[:, kv_offset : kv_offset + kv_length]
    return None if bool(padding.all()) else padding[:, None, None]


@dataclass(frozen=True)
class Rows:
    """Where each row's real tokens stand among K columns."""

    starts: list[int]
    """Column of the first real token; K if the row has none yet."""
    whole: bool
    """No padding between real tokens."""
    left_only: bool
    """No padding after a real token: neither between them nor behind."""

    @classmethod
    def of(cls, mask: torch.Tensor) -> Rows:
        """Read from a padding mask `[B, 1, 1, K]`, once for all layers of a forward pass."""
        known: Rows | None = getattr(mask, "_rlkv_rows", None)
        if known is None:
            real = mask[:, 0, -1]
            column = torch.arange(real.shape[1], device=real.device)
            first = torch.where(real, column, real.shape[1]).amin(1)
            last = torch.where(real, column, -1).amax(1)
            tokens = real.sum(1)
            whole = bool((tokens == (last - first + 1).clamp(min=0)).all())
            left_only = bool((tokens == real.shape[1] - first).all())
            known = cls(first.tolist(), whole, left_only)
            mask._rlkv_rows = known  # type: ignore[attr-defined]
        return known

    def to_front(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, heads, K, D]` with every row's real tokens from column 0 on.

        Padding then lies in the future of all real tokens, where causality hides it.
        """
        return self._rolled(x, -1)

    def back(self, x: torch.Tensor) -> torch.Tensor:
        """Undoes `to_front`."""
        return self._rolled(x, 1)

    def _rolled(self, x: torch.Tensor, sign: int) -> torch.Tensor:
        rows = zip(x, self.starts, strict=True)
        return torch.stack([row.roll(sign * start, -2) if start else row for row, start in rows])
