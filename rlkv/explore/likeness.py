"""How alike heads are: whether they look at the same tokens of the same texts.

Two heads are compared query by query. With p and q their attention over the keys (each the mean
of its query heads), the likeness is the Bhattacharyya coefficient, sum of sqrt(p q): 1 for the
same attention, 0 for attention on different tokens. It is an inner product of square roots, so
all pairs of heads cost one matrix product. Knows patterns only: not values, not what a head does
with what it reads. `rlkv.explore.similar` reads the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from rlkv.errors import UserError
from rlkv.explore.looking import Table
from rlkv.explore.stopping import Stop, check, never
from rlkv.explore.watching import Attention, observe
from rlkv.layout import layout_of

QUERIES = 48
"""Queries of a text that are compared: of its second half, where there is something to look at."""


def likeness(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], *, stop: Stop = never
) -> Table:
    """Likeness of all pairs of KV heads, `[layers, kv_heads, layers, kv_heads]`, in [0, 1].

    Args:
        texts: token ids; the mean over their queries counts.

    Raises:
        UserError: if there is no text, or one is too long for the model.
        Stopped: if `stop()` says so, asked before every text.
    """
    if not texts:
        raise UserError("Heads are compared on texts: give at least one.")
    layers, kv_heads = layout_of(model).shape
    heads = layers * kv_heads
    total = torch.zeros(heads, heads, device=model.device)
    count = 0
    for ids in texts:
        check(stop)
        roots = _roots(model, ids)
        total += torch.einsum("hqk,gqk->hg", roots, roots)
        count += roots.shape[1]
    shared = (total / count).clamp(0.0, 1.0).cpu().numpy()
    # Half precision is what files hold; a table read back is then the same.
    return shared.astype(np.float16).astype(np.float32).reshape(layers, kv_heads, layers, kv_heads)


def _roots(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """Square roots of attention, `[layers * kv_heads, queries, T + 1]`.

    The last column is the weight of learned sink logits, 0 in most models.
    """
    half = len(ids) // 2
    queries = torch.linspace(half, len(ids) - 1, min(QUERIES, len(ids) - half)).long()
    roots: list[torch.Tensor] = []

    def see(row: int, attention: Attention) -> None:
        weights = attention.weights(queries).mean(1)
        learned = (1.0 - weights.sum(-1, keepdim=True)).clamp(min=0.0)
        roots.append(torch.cat([weights, learned], dim=-1).sqrt_())

    observe(model, ids, see)
    return torch.cat(roots)
