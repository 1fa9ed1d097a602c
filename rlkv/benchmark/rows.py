"""The numbers of one measured combination."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Numbers:
    """What is measured of every contender. Speeds count the tokens of the whole batch."""

    kv_bytes: int
    peak_bytes: int | None
    """Growth of the memory in use, at most; None where it can't be measured."""
    prefill_tokens_per_s: float | None
    """None if only decoding was measured."""
    decode_tokens_per_s: float


@dataclass(frozen=True)
class Row:
    """One combination. Bytes are those after the last decoded token, for the whole batch.

    No suffix is our split cache, `_full` our cache with every head kept, `_stock`
    transformers' DynamicCache with transformers' own attention.
    """

    context: int
    batch: int
    sparsity: float
    """Share of KV heads that the mask compresses, counted; cuts are whole heads."""
    dtype: str
    new_tokens: int
    kv_bytes: int
    kv_bytes_formula: int
    kv_bytes_full: int
    kv_bytes_formula_full: int
    kv_bytes_stock: int
    peak_bytes: int | None
    peak_bytes_full: int | None
    peak_bytes_stock: int | None
    prefill_tokens_per_s: float | None
    prefill_tokens_per_s_full: float | None
    prefill_tokens_per_s_stock: float | None
    decode_tokens_per_s: float
    decode_tokens_per_s_full: float
    decode_tokens_per_s_stock: float
    decode_attention_s: float
    """Seconds of one decoded token spent storing it and attending, over all layers; median."""
    decode_attention_s_full: float
    attention_speedup: float
    """`decode_attention_s_full / decode_attention_s`."""
    attention_speedup_ideal: float
    """Keys that the full cache reads for each key that the split cache reads, by the formula:
    1 / ((1 - s) + s * min(1, (sink + recent) / n)) at sparsity s and n tokens."""
    others: dict[str, Numbers] = field(default_factory=dict)

    @property
    def by_contender(self) -> dict[str, Numbers]:
        """The numbers of each contender by its name, ours first."""
        split = Numbers(
            self.kv_bytes, self.peak_bytes, self.prefill_tokens_per_s, self.decode_tokens_per_s
        )
        full = Numbers(
            self.kv_bytes_full,
            self.peak_bytes_full,
            self.prefill_tokens_per_s_full,
            self.decode_tokens_per_s_full,
        )
        stock = Numbers(
            self.kv_bytes_stock,
            self.peak_bytes_stock,
            self.prefill_tokens_per_s_stock,
            self.decode_tokens_per_s_stock,
        )
        return {"split": split, "full": full, "stock": stock, **self.others}

    @property
    def setting(self) -> str:
        """What stays the same while the context grows."""
        return setting(self.batch, self.sparsity, self.dtype)


def setting(batch: int, sparsity: float, dtype: str) -> str:
    """What a line of a chart is about, for people."""
    return f"batch {batch}, sparsity {sparsity:.3g}, {dtype}"
