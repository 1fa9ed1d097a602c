"""The step with fixed shapes gives what the ordinary one gives; the graph itself needs CUDA."""

import pytest
import torch
from transformers import PreTrainedModel

from rlkv.cache import SplitHeadCache
from rlkv.captured import CapturedDecode
from rlkv.errors import UserError
from rlkv.masks import HeadMask
from tests.rlkv.families import CONFIGS, batch, tiny
from tests.rlkv.test_cache import dense_logits, head_mask

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def fed(family: str, mask: HeadMask, prompt: int, total: int, *, graph: bool) -> torch.Tensor:
    """Logits of the tokens after a prompt, fed one by one; every tenth by an ordinary pass."""
    model = tiny(family)
    if graph:
        model = model.cuda()
    inputs = batch(2, total)["input_ids"].to(model.device)
    cache = SplitHeadCache(model, mask)
    model(inputs[:, :prompt], past_key_values=cache)
    captured = CapturedDecode(model, cache, graph=graph)
    outs = []
    for i in range(prompt, total):
        token = inputs[:, i : i + 1]
        if i % 10:
            outs.append(captured.step(token).clone())
        else:
            outs.append(model(token, past_key_values=cache).logits)
        assert cache.get_seq_length() == i + 1
    return torch.cat(outs, dim=1).cpu()


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("prompt", [2, 25])
def test_fixed_shapes_change_nothing(family: str, prompt: int) -> None:
    mask = head_mask("mixed")
    got = fed(family, mask, prompt, 60, graph=False)
    want = dense_logits(family, mask, batch(2, 60))[:, prompt:]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@cuda
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_a_graph_changes_nothing(family: str) -> None:
    mask = head_mask("mixed")
    got = fed(family, mask, 25, 60, graph=True)
    want = dense_logits(family, mask, batch(2, 60))[:, 25:]
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)


def test_no_shape_depends_on_the_position() -> None:
    """The graph is good until a store grows: within that, tensors stay where they are."""
    model = tiny("llama")
    cache = SplitHeadCache(model, head_mask("half"))
    model(batch(1, 33)["input_ids"], past_key_values=cache)
    captured = CapturedDecode(model, cache, graph=False)
    seen = []
    for _ in range(16):
        captured.step(torch.tensor([[5]]))
        seen.append(cache.addresses())
    assert len(set(seen[:7])) == 1
    assert len(set(seen)) > 1
    assert cache.nbytes == ordinary_bytes(model, 49)


def ordinary_bytes(model: PreTrainedModel, tokens: int) -> int:
    """Bytes after ordinary passes."""
    cache = SplitHeadCache(model, head_mask("half"))
    ids = batch(1, tokens)["input_ids"]
    model(ids[:, :33], past_key_values=cache)
    for i in range(33, tokens):
        model(ids[:, i : i + 1], past_key_values=cache)
    return cache.nbytes


def test_what_cannot_be_captured_says_so() -> None:
    model = tiny("llama")
    cache = SplitHeadCache(model, head_mask("half"))
    with pytest.raises(UserError, match="Read a prompt"):
        CapturedDecode(model, cache, graph=False)
    model(**batch(2, 20, [0, 4]), past_key_values=cache)
    with pytest.raises(UserError, match="without padding"):
        CapturedDecode(model, cache, graph=False)
