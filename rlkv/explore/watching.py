"""Attention weights of one text, layer by layer, while the model reads it.

Knows the attention function and the model's layout; knows nothing of masks or tasks. Nothing is
kept on the model: who looks on is handed to the single forward pass, so that chats on the same
model go on undisturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from rlkv.attention import enable
from rlkv.errors import UserError
from rlkv.grouped import ScoreRule
from rlkv.layout import layout_of
from rlkv.models import max_length

BLOCK_NUMBERS = 1 << 24
"""Attention weights computed at once (64 MB): bounds the memory whatever the text's length."""


@dataclass(frozen=True)
class Attention:
    """Queries and keys of one layer on one text, as the layer uses them."""

    query: torch.Tensor  # [kv_heads, G, T, D]
    key: torch.Tensor  # [kv_heads, T, D]
    rule: ScoreRule

    @property
    def tokens(self) -> int:
        return self.query.shape[2]

    def weights(self, queries: torch.Tensor) -> torch.Tensor:
        """float32 `[kv_heads, G, Q, T]` of the queries at positions `[Q]`; 0 on later keys.

        Rows sum to 1, or to less in layers with learned sink logits, which take the rest.
        """
        queries = queries.to(self.query.device)
        last = int(queries.max()) + 1  # later keys are in the future of all of them
        query = self.query.index_select(2, queries).float()
        scores = query @ self.key[:, None, :last].float().transpose(-1, -2)
        scores *= query.shape[-1] ** -0.5 if self.rule.scaling is None else self.rule.scaling
        if self.rule.softcap is not None:
            scores = self.rule.softcap * torch.tanh(scores / self.rule.softcap)
        future = torch.arange(last, device=queries.device) > queries[:, None]
        scores.masked_fill_(future, float("-inf"))
        if self.rule.sink_logits is not None:
            logits = self.rule.sink_logits.float()[:, :, None, None]
            scores = torch.cat([scores, logits.expand(*scores.shape[:-1], 1)], dim=-1)
        seen = scores.softmax(-1)[..., :last]
        return nn.functional.pad(seen, (0, self.tokens - last))

    def blocks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All queries in blocks: their positions `[Q]`, and weights `[kv_heads, G, Q, T]`."""
        heads, group, length, _ = self.query.shape
        size = max(1, BLOCK_NUMBERS // (heads * group * length))
        position = torch.arange(length, device=self.query.device)
        for queries in torch.split(position, size):
            yield queries, self.weights(queries)

    def of_head(self, head: int) -> Attention:
        """One KV head alone."""
        only = torch.tensor([head], device=self.key.device)
        one = slice(head, head + 1)
        return Attention(self.query[one], self.key[one], self.rule.of_heads(only))


See = Callable[[int, Attention], None]
"""Takes the row of a layer in masks, and its attention."""


@torch.inference_mode()
def observe(
    model: PreTrainedModel, ids: Sequence[int], see: See, last_row: int | None = None
) -> None:
    """Reads a text once and shows the attention of every layer with full attention, in order.

    Args:
        ids: tokens of one text, without padding.
        see: called as the layers run, so that nobody has to hold all of them.
        last_row: the pass ends after this row of masks; None reads to the end.

    Raises:
        UserError: if the text is empty or longer than the model reads, or the model does not
            show its attention.
    """
    _require_length(model, ids)
    enable(model)
    rows = rows_of(model)
    seen: set[int] = set()

    def watch(
        module: nn.Module, query: torch.Tensor, key: torch.Tensor, rule: ScoreRule, _: int | None
    ) -> None:
        row = rows.get(module)
        if row is None:  # a sliding-window layer
            return
        _, heads, length, dim = query.shape
        kv_heads = key.shape[1]
        grouped = query[0].view(kv_heads, heads // kv_heads, length, dim)
        see(row, Attention(grouped, key[0], rule))
        seen.add(row)
        if row == last_row:
            raise _Enough

    tokens = torch.tensor([list(ids)], device=model.device)
    try:
        model(input_ids=tokens, use_cache=False, logits_to_keep=1, rlkv_watch=watch)
    except _Enough:
        return
    if len(seen) < len(rows):
        raise UserError("This model does not show its attention to others; choose another model.")


def rows_of(model: PreTrainedModel) -> dict[nn.Module, int]:
    """The attention modules with full attention, and the row that each has in a mask."""
    layout = layout_of(model)
    return {
        model.get_submodule(layout.layers[index].module): row
        for row, index in enumerate(layout.gated)
    }


def require_head(model: PreTrainedModel, layer: int, head: int) -> None:
    """Checks that the model has the KV head.

    Raises:
        UserError: naming what there is.
    """
    layers, kv_heads = layout_of(model).shape
    if not (0 <= layer < layers and 0 <= head < kv_heads):
        raise UserError(
            f"There is no head {layer}.{head}: this model has {layers} layers of {kv_heads} "
            "KV heads, counted from 0."
        )


class _Enough(Exception):
    """Ends a forward pass whose later layers nobody asked for."""


def _require_length(model: PreTrainedModel, ids: Sequence[int]) -> None:
    limit = max_length(model.config)
    if not ids:
        raise UserError("Write a text first.")
    if len(ids) > limit:
        raise UserError(
            f"The text has {len(ids)} tokens but the model reads at most {limit}: shorten it."
        )
