"""One token's attention with every head's keys cut into parts, merged by their log-sum-exp.

A kernel gives whole heads to the processor's threads or to blocks of a GPU; where there are fewer
heads than those, some would idle. The parts are views: no key is copied.
"""

from __future__ import annotations

import functools

import torch

MIN_PART = 512
"""Keys below which cutting a head into parts costs more than it gains."""
MAX_IDLE = 0.15
"""Thread time that may be lost before a head is cut: less than that the merge costs too."""
GPU_BLOCKS = 256
"""Pieces of work that keep a large GPU busy."""

_on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_on_gpu = torch.ops.aten._scaled_dot_product_efficient_attention.default
"""PyTorch's fused kernels themselves: the public function does not give the log-sum-exp."""


def parts_for(query: torch.Tensor, keys: int, masked: bool) -> int:
    """Into how many parts the keys of `[B, h, G, D]` queries are to be cut; 1 is not at all.

    PyTorch's CUDA kernel for attention without a mask cuts by itself, that with a mask does not.
    """
    heads = query.shape[0] * query.shape[1]
    if query.requires_grad:  # the merge has no gradient for the log-sum-exp
        return 1
    if query.is_cuda:
        return max(min(GPU_BLOCKS // heads, keys // MIN_PART), 1) if masked else 1
    if query.device.type == "cpu" and not masked:
        return key_parts(heads, keys, torch.get_num_threads())
    return 1


def key_parts(heads: int, keys: int, threads: int) -> int:
    """Into how many parts each head's keys are cut, so that `threads` share the work evenly.

    The CPU kernel gives whole heads to threads: three heads on two threads take as long as
    four. Cut in parts and merged by their log-sum-exp, they take as long as three.
    """
    parts = 1
    while _idle(heads * parts, threads) > MAX_IDLE and keys >= 2 * parts * MIN_PART:
        parts *= 2
    return parts


def _idle(items: int, threads: int) -> float:
    """Share of thread time lost when `items` equal pieces go to `threads`."""
    rounds = -(-items // threads)
    return 1 - items / (rounds * threads)


def in_parts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    parts: int,
    scaling: float | None,
) -> torch.Tensor:
    """`[B, h, G, D]` over keys in equal parts; where they do not divide, parts overlap, masked.

    `mask` is bool `[B or 1, 1, 1, K]`, True where visible, or None.
    """
    batch, heads, group, dim = query.shape
    step, overlap = divmod(key.shape[2], parts)
    cut_keys, cut_values = (_cut(x, parts, step, overlap) for x in (key, value))
    queries = query.reshape(batch * heads, 1, group, dim).expand(-1, parts, -1, -1)
    if mask is None:
        bias = _overlap_bias(parts, step, overlap, query.dtype) if overlap else None
    else:
        bias = _bias(mask, parts, step, overlap, query.dtype)
        bias = bias.repeat_interleave(batch * heads // len(bias), 0)
        bias = bias[..., : step + overlap].expand(-1, -1, group, -1)
    if query.is_cuda:
        found = _on_gpu(queries, cut_keys, cut_values, bias, True, scale=scaling)
    else:
        found = _on_cpu(queries, cut_keys, cut_values, attn_mask=bias, scale=scaling)
    out, log_sum = found[0], found[1][..., :group]  # CUDA's is padded
    weight = log_sum.softmax(1).unsqueeze(-1)  # [B * h, parts, G, 1]
    return (out * weight).sum(1).to(query.dtype).view(batch, heads, group, dim)


def _cut(x: torch.Tensor, parts: int, step: int, overlap: int) -> torch.Tensor:
    """`[B, h, K, D]` as a view `[B * h, parts, step + overlap, D]`."""
    batch, heads, _, dim = x.shape
    rows, row, token, _ = x.stride()
    if rows != heads * row:  # rows of a batch that do not lie evenly: only outside our stores
        return x.unfold(2, step + overlap, step).transpose(-1, -2).flatten(0, 1)
    return x.as_strided(
        (batch * heads, parts, step + overlap, dim), (row, step * token, token, x.stride(3))
    )


@functools.lru_cache(maxsize=64)
def _overlap_bias(parts: int, step: int, overlap: int, dtype: torch.dtype) -> torch.Tensor:
    """Hides the keys that the part before has too, `[1, parts, 1, step + overlap]`, on a CPU."""
    bias = torch.zeros(1, parts, 1, step + overlap, dtype=dtype)
    bias[:, 1:, :, :overlap] = float("-inf")
    return bias


def _bias(
    mask: torch.Tensor, parts: int, step: int, overlap: int, dtype: torch.dtype
) -> torch.Tensor:
    """`[B or 1, 1, 1, K]` as what is added to scores, `[B or 1, parts, 1, step + overlap]`.

    Not -inf: a part without any visible key would be NaN, where it is to weigh nothing. The last
    dimension is longer than said, to a multiple of 16: CUDA's kernel wants its rows to begin there.
    """
    width = step + overlap
    visible = mask[:, 0, 0].unfold(1, width, step)
    hidden = torch.finfo(dtype).min
    bias = visible.new_zeros(*visible.shape[:2], 1, -(-width // 16) * 16, dtype=dtype)
    bias[..., :width].masked_fill_(~visible.unsqueeze(2), hidden)
    if overlap:
        bias[:, 1:, :, :overlap] = hidden
    return bias
