"""Why the embedded model is asked without the earlier turns: it was trained on single problems."""

import pytest

import rlkv
from rlkv.dialogue import Message, SideSpec, converse
from rlkv.generation import Sampling
from rlkv.tasks import get_task
from rlkv.training.verifier import Verifier

PAIRS = 8


@pytest.mark.slow
def test_a_second_question_after_the_first_is_not_answered() -> None:
    model, tokenizer = rlkv.load_model("tracer")
    task = get_task("tracing")
    verifier = Verifier(task, tokenizer)
    problems = task.problems(2 * PAIRS, seed=1, split="test")

    def answer(*history: Message) -> str:
        sampling = Sampling(task.max_new_tokens)
        *_, last = converse(model, tokenizer, [SideSpec(None, history)], sampling)
        return last.sides[0].text

    right = [0, 0]
    for first, second in zip(problems[::2], problems[1::2], strict=True):
        asked = Message("user", first.prompt)
        told = answer(asked)
        again = answer(asked, Message("assistant", told), Message("user", second.prompt))
        right[0] += int(verifier.reward(told, first))
        right[1] += int(verifier.reward(again, second))
    print(f"\nfirst questions right: {right[0]} of {PAIRS}, second ones: {right[1]}")
    assert right[0] == PAIRS
    assert right[1] < PAIRS / 4
