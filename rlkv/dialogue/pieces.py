"""What each token adds to the text: decoding that does not begin again for every token."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

CONTEXT = 8
"""Tokens before a new one that its text may depend on: spaces, and rules of the tokeniser."""
LONGEST_CHARACTER = 4
"""Tokens that can make up one character: UTF-8 has up to four bytes."""
UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Pieces:
    """Adds tokens one by one; the pieces joined are the text of all of them.

    The last bytes of a character that is not finished are held back until it is.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._special = _special_ids(tokenizer)
        self._shown: list[list[int]] = []  # the last of them, whole characters each
        self._pending: list[int] = []

    def add(self, token: int, last: bool = False) -> str:
        """The text that a further token adds; `last`: nothing is held back any more."""
        if token not in self._special:
            self._pending.append(token)
        text = self._new_text(self._pending)
        if text.endswith(UNFINISHED) and len(self._pending) < LONGEST_CHARACTER and not last:
            return ""
        self._shown.append(self._pending)
        self._pending = []
        while sum(map(len, self._shown[1:])) >= CONTEXT:
            del self._shown[0]
        return text

    def name(self, token: int) -> str:
        """How a token would read if it came next; an end token is called by its name."""
        text = "" if token in self._special else self._new_text([*self._pending, token])
        return text or str(self._tokenizer.decode([token]))

    def _new_text(self, tokens: list[int]) -> str:
        if not tokens:
            return ""
        context = [token for piece in self._shown for token in piece]
        return self._decode([*context, *tokens])[len(self._decode(context)) :]

    def _decode(self, tokens: list[int]) -> str:
        text = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that are left out of a text."""
    marked = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    candidates = marked | set(tokenizer.all_special_ids)
    return {i for i in candidates if not tokenizer.decode([i], skip_special_tokens=True)}
