"""Long prompts: filler with one fact hidden in it and a question for that fact, to a length.

The fact stands a third into the text, far behind the end, where only full caches still have it.
Lengths are those of the whole prompt, chat template included.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from rlkv.dialogue import Message
from rlkv.tasks.tracing import draw
from ui.heavy import heavy

LENGTHS = (256, 512, 1024, 4096, 8192, 32768)
"""Tokens that a prompt can be filled to."""
FACT_AT = 1 / 3
"""Where the fact stands, as a share of the filler."""

_PLACES = (
    "the harbour", "the old mill", "the north gate", "the library", "the bakery", "the orchard",
    "the station", "the lighthouse", "the market", "the school", "the bridge", "the workshop",
)  # fmt: skip
_PEOPLE = ("A baker", "The gardener", "A sailor", "The teacher", "A farmer", "The clerk", "A child")
_DOINGS = (
    "walked past", "waited near", "swept the steps of", "painted the door of", "looked back at",
    "left a basket at", "read a letter beside", "met a friend at",
)  # fmt: skip
_TIMES = (
    "at dawn", "before noon", "in the rain", "on a quiet evening", "late at night", "last spring",
)  # fmt: skip
Count = Callable[[str], int]


def count_with(tokenizer: Any) -> Count:
    """Counts the tokens of a question as the model reads it."""
    render = heavy("rlkv.dialogue.prompt").render

    def count(question: str) -> int:
        text = render(tokenizer, [Message("user", question)])
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return count


def needle(count: Count, tokens: int, seed: int) -> str:
    """Sentences with a number to find, as long as fits into `tokens`."""
    rng = random.Random(seed)
    number, place = rng.randrange(10_000, 100_000), rng.choice(_PLACES)
    fact = f"The secret number of {place} is {number}."
    end = f"\n\nWhat is the secret number of {place}? Answer with the number only."

    def made(sentences: int) -> str:
        lines = random.Random(seed + 1)
        filler = [_sentence(lines) for _ in range(sentences)]
        filler.insert(int(sentences * FACT_AT), fact)
        return " ".join(filler) + end

    return made(_most(lambda n: count(made(n)), tokens))


def puzzle(count: Count, tokens: int, seed: int) -> str:
    """A problem of the embedded model whose given facts are repeated, as often as fits."""
    prompt = draw(random.Random(seed), 6).prompt
    parts = prompt.split("; ")
    given, rest = [p for p in parts if "=" in p], [p for p in parts if "=" not in p]

    def made(facts: int) -> str:
        repeated = [given[i % len(given)] for i in range(len(given) + facts)]
        return "; ".join([*repeated, *rest])

    return made(_most(lambda n: count(made(n)), tokens))


def fitting(tokens: int, longest: int, context: int) -> int:
    """What a prompt is filled to where `tokens` are wanted and an answer of `longest` follows: as
    much as fits; 0 where that is no more than the length before."""
    shorter = max((n for n in LENGTHS if n < tokens), default=0)
    room = min(tokens, context - longest)
    return room if tokens <= context and room > shorter else 0


def why_not(tokens: int, longest: int, context: int) -> str:
    """Why a prompt can't be filled so far, "" where it can."""
    if fitting(tokens, longest, context):
        return ""
    return f"{tokens:,} tokens and an answer of {longest:,} exceed the {context:,} that it reads"


def _most(count: Callable[[int], int], tokens: int) -> int:
    """The largest number of pieces that stays within `tokens`, 0 where none does."""
    low, high = 0, 1
    while count(high) <= tokens:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= tokens else (low, middle)
    return low


def _sentence(rng: random.Random) -> str:
    return (
        f"{rng.choice(_PEOPLE)} {rng.choice(_DOINGS)} {rng.choice(_PLACES)} {rng.choice(_TIMES)}."
    )
