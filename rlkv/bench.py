"""Speed and memory of the split cache, against our own full cache and the stock one.

All three run in one process on one model and take turns token by token, so that whatever else
the machine does hits them alike. "full" is our cache with every head kept: same class, same
kernels. "stock" is transformers' DynamicCache with its own attention path.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from rlkv.cache import SplitHeadCache
from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.models import model_spec

PREFILL_CHUNK = 512


@dataclass(frozen=True)
class Row:
    """One context length. Bytes are measured at the end of the decoding, for the whole batch."""

    context: int
    batch: int
    sparsity: float
    new_tokens: int
    kv_bytes: int
    kv_bytes_formula: int
    kv_bytes_full: int
    kv_bytes_stock: int
    prefill_tokens_per_s: float
    prefill_tokens_per_s_full: float
    prefill_tokens_per_s_stock: float
    decode_tokens_per_s: float
    decode_tokens_per_s_full: float
    decode_tokens_per_s_stock: float


class _Contender:
    """One cache in the race: its times, its bytes."""

    def __init__(self, model: PreTrainedModel, cache: Any) -> None:
        self.model = model
        self.cache = cache
        self.prefill_s = 0.0
        self.token_s: list[float] = []

    def prefill(self, ids: torch.Tensor) -> None:
        begun = time.perf_counter()
        for at in range(0, ids.shape[1], PREFILL_CHUNK):
            self._step(ids[:, at : at + PREFILL_CHUNK])
        self.prefill_s = time.perf_counter() - begun

    def decode(self, ids: torch.Tensor) -> None:
        begun = time.perf_counter()
        self._step(ids)
        self.token_s.append(time.perf_counter() - begun)

    def _step(self, ids: torch.Tensor) -> None:
        self.model(input_ids=ids, past_key_values=self.cache, logits_to_keep=1)
        if ids.is_cuda:
            torch.cuda.synchronize()

    @property
    def nbytes(self) -> int:
        if isinstance(self.cache, SplitHeadCache):
            return self.cache.nbytes
        tensors = [t for layer in self.cache.layers for t in (layer.keys, layer.values)]
        return sum(t.untyped_storage().nbytes() for t in tensors)

    def decode_speed(self, batch: int) -> float:
        """Tokens/s of the whole batch, by the median step."""
        return batch / statistics.median(self.token_s)


@torch.inference_mode()
def bench(
    model: PreTrainedModel,
    mask: HeadMask,
    *,
    contexts: Sequence[int],
    new_tokens: int = 32,
    batch: int = 1,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Row]:
    """Measures one row per context length: prefill `context` tokens, then decode `new_tokens`.

    Raises:
        UserError: if a length does not fit the model.
    """
    limit = model.config.max_position_embeddings
    if min(contexts) < 1 or new_tokens < 1 or batch < 1:
        raise UserError("Contexts, new tokens and batch must be at least 1.")
    if max(contexts) + new_tokens > limit:
        raise UserError(f"This model reads at most {limit} tokens: choose shorter contexts.")
    for context in contexts:
        progress(f"context {context} ...")
        yield _row(model, mask, context, new_tokens, batch)


def _row(model: PreTrainedModel, mask: HeadMask, context: int, new_tokens: int, batch: int) -> Row:
    spec = model_spec(model)
    everything = HeadMask.full(spec.layers, spec.kv_heads)
    split, full, stock = race = [
        _Contender(model, SplitHeadCache(model, mask)),
        _Contender(model, SplitHeadCache(model, everything)),
        _Contender(model, DynamicCache(config=model.config)),
    ]
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, model.config.vocab_size, (batch, context), generator=generator)
    ids = ids.to(model.device)
    for contender in race:
        contender.prefill(ids)
    for _ in range(new_tokens):
        for contender in race:
            contender.decode(ids[:, :1])
    return Row(
        context=context,
        batch=batch,
        sparsity=mask.sparsity,
        new_tokens=new_tokens,
        kv_bytes=split.nbytes,
        kv_bytes_formula=mask.kv_bytes(
            context + new_tokens, head_dim=spec.head_dim, itemsize=spec.itemsize, batch=batch
        ),
        kv_bytes_full=full.nbytes,
        kv_bytes_stock=stock.nbytes,
        prefill_tokens_per_s=batch * context / split.prefill_s,
        prefill_tokens_per_s_full=batch * context / full.prefill_s,
        prefill_tokens_per_s_stock=batch * context / stock.prefill_s,
        decode_tokens_per_s=split.decode_speed(batch),
        decode_tokens_per_s_full=full.decode_speed(batch),
        decode_tokens_per_s_stock=stock.decode_speed(batch),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    head = (
        "context", "KV MB", "full", "stock", "decode tok/s", "full", "stock",
        "prefill tok/s", "full", "stock",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        r = asdict(row)
        sides = ("", "_full", "_stock")
        cells = [f"{row.context}"]
        cells += [f"{r['kv_bytes' + side] / 1e6:.1f}" for side in sides]
        cells += [f"{r['decode_tokens_per_s' + side]:.1f}" for side in sides]
        cells += [f"{r['prefill_tokens_per_s' + side]:.0f}" for side in sides]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
