"""The text of each token, such that all of them together are the whole text."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_BROKEN = "\ufffd"
"""What a tokenizer says for bytes that are no character yet."""


def pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """One string a token, special tokens included; joined they are the decoded text.

    A token that ends within a character is "", and the one that completes it gives the character.
    Ends that never get complete show the replacement character.
    """

    def decode(first: int, last: int) -> str:
        return str(
            tokenizer.decode(
                list(ids[first:last]),
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
        )

    found: list[str] = []
    # Decoded together with the tokens of the piece before, since some tokenizers drop the space
    # of a first token. Only those, or a long text would take quadratic time.
    context, begin = 0, 0
    for end in range(1, len(ids) + 1):
        before, now = decode(context, begin), decode(context, end)
        whole = not now.endswith(_BROKEN) or end == len(ids)
        found.append(now[len(before) :] if whole else "")
        if whole:
            context, begin = begin, end
    return found
