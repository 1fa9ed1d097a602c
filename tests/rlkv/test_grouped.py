"""The paths of grouped attention against scores written out."""

import pytest
import torch

from rlkv import key_parts as parts_module
from rlkv.grouped import ScoreRule, grouped_attention
from rlkv.key_parts import in_parts, key_parts, parts_for

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Causal attention by definition."""
    scores = torch.einsum("bhgtd,bhkd->bhgtk", query, key) * query.shape[-1] ** -0.5
    length, keys = scores.shape[-2:]
    visible = torch.ones(length, keys, dtype=torch.bool).tril(keys - length)
    weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)
    return torch.einsum("bhgtk,bhkd->bhgtd", weights, value)


def tensors(
    heads: int, group: int, length: int, keys: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(keys)
    query = torch.randn(2, heads, group, length, 16)
    return query, torch.randn(2, heads, keys, 16), torch.randn(2, heads, keys, 16)


@pytest.mark.parametrize("length", [1, 2, 37])
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("keys", [37, 50])
def test_every_path_is_causal_attention(length: int, group: int, keys: int) -> None:
    given = tensors(3, group, length, keys)
    got = grouped_attention(*given, None, ScoreRule())
    torch.testing.assert_close(got, plain(*given), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("threads", [2, 9, 16])
@pytest.mark.parametrize("keys", [1024, 1025, 1100, 2047])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keys_in_parts_give_the_same(
    monkeypatch: pytest.MonkeyPatch, threads: int, keys: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(parts_module, "MIN_PART", 64)
    given = tensors(3, 2, 1, keys)
    stored = [torch.randn(2, 3, keys + 9, 16) for _ in range(2)]  # views, as from a store
    for store, x in zip(stored, given[1:], strict=True):
        store[:, :, :keys] = x
    key, value = (store.to(dtype)[:, :, :keys] for store in stored)
    assert threads == 2 or key_parts(6, keys, threads) > 1
    got = grouped_attention(given[0].to(dtype), key, value, None, ScoreRule())
    assert got.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(got.float(), plain(*given), atol=tolerance, rtol=tolerance)


def test_keys_are_cut_only_where_a_thread_would_idle() -> None:
    assert key_parts(heads=3, keys=4096, threads=2) == 2
    assert key_parts(heads=1, keys=4096, threads=2) == 2
    assert key_parts(heads=2, keys=4096, threads=2) == 1
    assert key_parts(heads=8, keys=65536, threads=2) == 1
    assert key_parts(heads=3, keys=900, threads=2) == 1
    assert key_parts(heads=1, keys=65536, threads=1) == 1
    assert key_parts(heads=2, keys=65536, threads=16) == 8


def test_attention_in_parts_is_never_used_for_gradients() -> None:
    """The merge of parts has no gradient for the log-sum-exp."""
    query, key, value = tensors(3, 2, 1, 2048)
    query.requires_grad_(True)
    grads = [
        torch.autograd.grad(out.square().sum(), query)[0]
        for out in (
            grouped_attention(query, key, value, None, ScoreRule()),
            plain(query, key, value),
        )
    ]
    torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-4)


def masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Attention `[B, h, G, D]` by definition."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.masked_fill(~mask, float("-inf")).softmax(-1) @ value


def some_mask(rows: int, keys: int) -> torch.Tensor:
    """The first keys of one row are padding, and whole parts of the other are hidden."""
    mask = torch.ones(rows, 1, 1, keys, dtype=torch.bool)
    mask[0, ..., : keys // 5] = False
    mask[-1, ..., keys // 3 :] = False
    return mask


@pytest.mark.parametrize("keys", [512, 700, 1023])
@pytest.mark.parametrize("parts", [2, 5, 8])
@pytest.mark.parametrize("rows", [1, 2])
def test_parts_under_a_mask_give_the_same(keys: int, parts: int, rows: int) -> None:
    query, key, value = tensors(3, 2, 1, keys)
    folded, mask = query.squeeze(3), some_mask(rows, keys)
    got = in_parts(folded, key, value, mask, parts, None)
    torch.testing.assert_close(got, masked(folded, key, value, mask), atol=1e-6, rtol=1e-5)


@cuda
@pytest.mark.parametrize("keys", [512, 4096, 5003])
@pytest.mark.parametrize("rows", [None, 1, 2])
def test_a_token_on_cuda(keys: int, rows: int | None) -> None:
    query, key, value = (x.repeat_interleave(4, -1) for x in tensors(3, 2, 1, keys))
    mask = None if rows is None else some_mask(rows, keys)
    q, k, v = (x.to("cuda", torch.bfloat16) for x in (query, key, value))
    on_gpu = None if mask is None else mask.cuda()
    assert (parts_for(q.squeeze(3), keys, mask is not None) > 1) == (
        mask is not None and keys > 512
    )
    got = grouped_attention(q, k, v, on_gpu, ScoreRule()).float().cpu()
    whole = mask if mask is not None else torch.ones(1, 1, 1, keys, dtype=torch.bool)
    want = masked(query.squeeze(3), key, value, whole).unsqueeze(3)
    torch.testing.assert_close(got, want, atol=2e-2, rtol=2e-2)


@cuda
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize(("length", "keys"), [(37, 500), (600, 1500), (64, 64)])
def test_a_piece_of_a_prompt_on_cuda(group: int, length: int, keys: int) -> None:
    given = tuple(x.repeat_interleave(4, -1) for x in tensors(3, group, length, keys))
    q, k, v = (x.to("cuda", torch.bfloat16) for x in given)
    got = grouped_attention(q, k, v, None, ScoreRule()).float().cpu()
    torch.testing.assert_close(got, plain(*given), atol=2e-2, rtol=2e-2)
