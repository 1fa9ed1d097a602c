"""One head on one text agrees with what all heads' measure says; bad texts are refused."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlkv.errors import UserError
from rlkv.explore.looking import looks
from rlkv.explore.one_head import one_head, read_question, read_text
from rlkv.models import load_model
from rlkv.streaming import StreamingWindow
from rlkv.tasks import get_task

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
WINDOW = StreamingWindow(4, 16)


@pytest.fixture(scope="module")
def tracer() -> Loaded:
    return load_model("tracer")


@pytest.fixture
def question() -> str:
    return get_task("tracing").problems(1, seed=5, split="test")[0].prompt


def test_the_model_answers_the_question_itself(tracer: Loaded, question: str) -> None:
    model, tokenizer = tracer
    ids, begin = read_question(model, tokenizer, question, 512, 128)
    problem = get_task("tracing").problems(1, seed=5, split="test")[0]
    answer = "<think>" + tokenizer.decode(ids[begin:], skip_special_tokens=True)
    assert get_task("tracing").reward(answer, problem) == 1.0
    assert len(read_question(model, tokenizer, question, 512, 5)[0]) == begin + 5
    assert len(read_question(model, tokenizer, question, begin + 3, 128)[0]) == begin + 3


def test_one_head_is_as_all_heads_are_measured(tracer: Loaded, question: str) -> None:
    model, tokenizer = tracer
    ids, begin = read_question(model, tokenizer, question, 512, 128)
    everything = looks(model, ids, WINDOW)
    for cell in ((0, 0), (1, 5), (3, 7)):
        one = one_head(model, tokenizer, ids, cell, WINDOW, begin)
        every = (everything.sink[cell], everything.recent[cell], everything.far[cell])
        assert one.masses == pytest.approx(every, abs=1e-5)
        assert one.by_distance == pytest.approx(everything.by_distance[cell].tolist(), abs=1e-5)
        assert one.edges == everything.edges
        assert "".join(one.pieces) == tokenizer.decode(ids)
        assert one.weights.shape == (2, len(ids), len(ids))
        assert one.answer_from == begin


def test_a_short_text_has_no_far_tokens(tracer: Loaded) -> None:
    model, tokenizer = tracer
    ids = read_text(model, tokenizer, "a=3; b=4; ?a", 512)
    one = one_head(model, tokenizer, ids, (0, 0), WINDOW)
    assert one.masses[2] == 0.0
    assert sum(one.masses) == pytest.approx(1.0)
    assert one.far == ()
    assert np.allclose(one.weights.sum(-1), 1.0, atol=1e-5)


def test_bad_texts_are_refused(tracer: Loaded) -> None:
    model, tokenizer = tracer
    with pytest.raises(UserError, match="Write a text"):
        read_text(model, tokenizer, " ", 512)
    with pytest.raises(UserError, match="at most 8"):
        read_text(model, tokenizer, "a=3; b=4; c=5; d=6; e=7; ?a", 8)
    with pytest.raises(UserError, match=r"no head 4\.0"):
        one_head(model, tokenizer, read_text(model, tokenizer, "a=3; ?a", 9), (4, 0), WINDOW)
