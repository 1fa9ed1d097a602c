"""SmolLM2-135M-Instruct: its induction heads, and the time that looking takes."""

import time

import numpy as np
import pytest
import torch

from rlkv.cuts import ranks
from rlkv.explore.looking import looks, pattern
from rlkv.explore.probes import probe_texts
from rlkv.explore.rankings import Probe, induction, retrieval
from rlkv.models import load_model
from rlkv.streaming import StreamingWindow
from tests.rlkv.test_real_model import gguf  # noqa: F401 - a fixture

pytestmark = [pytest.mark.real_model, pytest.mark.slow, pytest.mark.timeout(600)]

WINDOW = StreamingWindow(16, 64)


def test_looks_of_512_tokens_take_less_than_three_seconds(gguf: str) -> None:  # noqa: F811
    """Of one core's own time, so that what else runs on the machine does not count."""
    model, tokenizer = load_model(gguf)
    ids = tokenizer("The sea is wide and the boats go far. " * 100)["input_ids"][:512]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        looks(model, ids, WINDOW)
        start = time.process_time()
        found = looks(model, ids, WINDOW)
        seconds = time.process_time() - start
    finally:
        torch.set_num_threads(threads)
    assert seconds < 3.0
    weights = pattern(model, ids, 18, 2).mean(0)
    far = [weights[i, 16 : i - 63].sum() for i in range(80, 512)]
    assert found.far[18, 2] == pytest.approx(np.mean(far), abs=1e-5)


def test_induction_and_retrieval_name_the_same_heads(gguf: str) -> None:  # noqa: F811
    """One measured on random tokens, the other on answers of its own: 4 of their 6 best agree."""
    model, tokenizer = load_model(gguf)
    texts = probe_texts(model, tokenizer, "repeat", 6, seed=0)
    probe = Probe(model, tokenizer, texts, StreamingWindow(4, 8))
    best = [ranks(scores(probe)) < 6 for scores in (induction, retrieval)]
    assert (best[0] & best[1]).sum() >= 4
