"""From a history to the tokens that the model reads."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from rlkv.dialogue.message import Message
from rlkv.errors import UserError
from rlkv.generation import require_known
from rlkv.tasks.answers import opened_thinking


def render(tokenizer: PreTrainedTokenizerBase, history: Sequence[Message]) -> str:
    """The conversation as the model's chat template writes it, ready to be answered.

    Without a template the texts are joined by line breaks.

    Raises:
        UserError: if there is no question, or the template has no place for a message.
    """
    _check(history)
    if not tokenizer.chat_template:
        texts = [message.text for message in history]
        return texts[0] if len(texts) == 1 else "\n".join([*texts, ""])
    messages = [{"role": message.role, "content": message.text} for message in history]
    try:
        text = str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
    except (TemplateError, ValueError, TypeError) as error:
        raise UserError(
            f"This model's chat template refuses the conversation: {error}. {_advice(history)}"
        ) from error
    # Some templates leave out what they have no place for, and say nothing.
    for message in history:
        if message.role != "assistant" and message.text.strip() not in text:
            raise UserError(
                f"This model's chat template has no place for the {_NAMES[message.role]}. "
                + _advice(history)
            )
    return text


def prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, history: Sequence[Message], limit: int
) -> tuple[list[int], str]:
    """Token ids of the prompt, and the thinking tag that it opens itself ("" if none).

    Raises:
        UserError: as `render`; or the model has no tokens for a part of it, or it does not fit
            the model's `limit` of tokens.
    """
    text = render(tokenizer, history)
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    require_known(tokenizer, ids, *(message.text for message in history))
    if len(ids) >= limit:
        what = "prompt" if len(history) == 1 else "conversation"
        how = "Shorten it" if len(history) == 1 else "Begin a new one, or drop earlier turns"
        raise UserError(
            f"The {what} has {len(ids):,} tokens, but the model reads at most {limit:,} with its "
            f"answer. {how}: at least {len(ids) - limit + 1:,} tokens have to go."
        )
    tag = opened_thinking(text)
    return ids, tag + text[len(text.rstrip()) :] if tag else ""


_NAMES = {"system": "system message", "user": "earlier questions", "assistant": "earlier answers"}


def _check(history: Sequence[Message]) -> None:
    if not history or history[-1].role != "user" or not history[-1].text.strip():
        raise UserError("Write a question first.")
    if any(message.role == "system" for message in history[1:]):
        raise UserError("A system message can only stand at the beginning of a conversation.")


def _advice(history: Sequence[Message]) -> str:
    if history[0].role == "system":
        return "Remove the system message, or write it into the first question."
    return "Begin a new conversation, in which questions and answers take turns."
