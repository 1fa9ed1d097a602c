"""What the model reads: the whole history by its own template, or a refusal that helps."""

import copy
from typing import Any

import pytest

from rlkv.dialogue import Message
from rlkv.dialogue.prompt import prompt_tokens, render
from rlkv.errors import UserError
from tests.rlkv.dialogue.stage import PROMPT, SECOND, Loaded, asked

SYSTEM = Message("system", "Be brief.")
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system role') }}"
    "{% endif %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}[{{ m.content | trim }}]{% endfor %}"
)
STRIPS_THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}<|assistant|>{{ '<think>\n' }}"
)


def with_template(tracer: Loaded, template: str | None) -> Any:
    tokenizer = copy.deepcopy(tracer[1])
    tokenizer.chat_template = template
    return tokenizer


def test_the_whole_history_is_read(tracer: Loaded) -> None:
    text = render(tracer[1], asked(PROMPT, "<think>c=7</think>k=6", SECOND))
    assert text == (
        f"<|user|>{PROMPT}<|assistant|><think>c=7</think>k=6<|end|>"
        f"<|user|>{SECOND}<|assistant|><think>"
    )


def test_thinking_of_earlier_answers_is_as_the_template_wants_it(tracer: Loaded) -> None:
    tokenizer = with_template(tracer, STRIPS_THINKING)
    history = asked("one", "<think>long</think>two", "three")
    assert render(tokenizer, history).startswith("<|user|>one<|assistant|>two<|user|>three")
    _, opened = prompt_tokens(tokenizer, asked("a=1"), 100)
    assert opened == "<think>\n"
    assert prompt_tokens(tracer[1], asked(PROMPT), 100)[1] == "<think>"


def test_without_a_template_texts_are_joined(tracer: Loaded) -> None:
    tokenizer = with_template(tracer, None)
    assert render(tokenizer, asked("a=1")) == "a=1"
    assert render(tokenizer, (SYSTEM, *asked("a", "b", "c"))) == "Be brief.\na\nb\nc\n"
    assert prompt_tokens(tokenizer, asked("a=1"), 100)[1] == ""


def test_a_template_that_refuses_is_explained(tracer: Loaded) -> None:
    tokenizer = with_template(tracer, STRICT)
    assert render(tokenizer, asked(" a ", "b", "c")) == "[a][b][c]"
    with pytest.raises(UserError, match=r"No system role.*Remove the system message"):
        render(tokenizer, (SYSTEM, *asked("a")))
    with pytest.raises(UserError, match=r"must alternate.*take turns"):
        render(tokenizer, (*asked("a"), *asked("b")))


def test_a_template_that_leaves_something_out_is_refused(tracer: Loaded) -> None:
    with pytest.raises(UserError, match="no place for the system message"):
        render(tracer[1], (SYSTEM, *asked(PROMPT)))
    last_only = with_template(tracer, "{{ messages[-1].content }}")
    with pytest.raises(UserError, match="no place for the earlier questions"):
        render(last_only, asked("first", "x", "second"))


@pytest.mark.parametrize(
    ("history", "says"),
    [
        ((), "question first"),
        (asked("  "), "question first"),
        (asked(PROMPT, "k=6"), "question first"),
        ((*asked("a", "b"), SYSTEM, *asked("c")), "only stand at the beginning"),
        (asked("a=1; Ünïcode!"), "does not know “Ünïcode!”"),
        (asked("a=1;" * 600), r"prompt has 1,203 tokens.*at most 1,024.*at least 180 tokens"),
        (asked("a=1;" * 300, "k=1", "b=2;" * 300), "conversation has .* drop earlier turns"),
    ],
)
def test_what_can_not_be_read(tracer: Loaded, history: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        prompt_tokens(tracer[1], history, 1024)
