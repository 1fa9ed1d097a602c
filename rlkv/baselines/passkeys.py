"""Texts with passkeys hidden in them, asked for at the end: what DuoAttention trains gates on.

No book is at hand offline, so the texts around are made of our own words; a text file may be
named instead. The embedded model, which knows no words, gets definitions with facts hidden among
them. Whether the model could answer does not matter: the answers are given, and only what
the model computes on them is compared.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from rlkv.baselines.duo_settings import DuoSettings
from rlkv.errors import UserError
from rlkv.generation import chat_prompt
from rlkv.tasks.tracing import NAMES, Definition
from rlkv.tasks.words import KEYS, VALUES

_SENTENCES = (
    "The {} stood by the {}, and nobody looked at the {}.",
    "Past the {} and the {} there was one more {}.",
    "They carried the {} to the {} and came back with the {}.",
    "The {} is no {}, said the one with the {}.",
    "In the morning the {} lay near the {}, under the {}.",
)
_PLACE = "(text)"
"""Stands in the chat template where a text goes."""


@dataclass(frozen=True)
class PasskeyText:
    """One text with its answers."""

    ids: tuple[int, ...]
    answer: tuple[int, ...]
    """Positions of the tokens that repeat a passkey."""


class PasskeyTexts(Protocol):
    """A language in which passkeys can be hidden."""

    def draw(self, length: int, rng: random.Random) -> PasskeyText:
        """A text of about `length` tokens; longer if the passkeys alone are."""
        ...


def passkey_texts(tokenizer: PreTrainedTokenizerBase, settings: DuoSettings) -> PasskeyTexts:
    """The texts that a tokenizer can read.

    Raises:
        UserError: if it reads none of them, or the text file can't be used.
    """
    kinds: list[type[Sentences | Definitions]] = [Sentences, Definitions]
    for kind in kinds:
        ids = _encoder(tokenizer)(kind.sample)
        if tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids:
            return kind(tokenizer, settings)
    raise UserError(
        "This model's tokenizer reads neither words nor definitions, so no passkeys can be hidden "
        "for it: choose another way of ranking heads."
    )


class Sentences:
    """English sentences, or those of a text file, with lists of words as passkeys."""

    sample = "The third passkey is: orbit olive. 3"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: DuoSettings) -> None:
        self._encode, self._settings = _encoder(tokenizer), settings
        self._start = list(tokenizer("")["input_ids"])  # what the tokenizer begins texts with
        self._file = _sentences(settings.text) if settings.text else []

    def draw(self, length: int, rng: random.Random) -> PasskeyText:
        """See `PasskeyTexts.draw`."""
        hidden: list[list[int]] = []
        asked: list[Piece] = []
        for number in range(1, self._settings.passkeys + 1):
            words = " " + " ".join(rng.choice(VALUES) for _ in range(self._settings.passkey_words))
            hidden.append(self._encode(f" Passkey {number} is:{words}."))
            question = f"\n\nWhat is passkey {number}? Passkey {number} is:"
            asked.append(Piece(self._encode(question)))
            asked.append(Piece(self._encode(words), answer=True))
        taken = len(self._start) + _tokens(hidden) + _tokens(piece.ids for piece in asked)
        filler = _filled(length - taken, self._next_sentence(rng))
        text = _hidden(filler, hidden, self._settings, rng)
        return _assembled([Piece(self._start), *map(Piece, text), *asked])

    def _next_sentence(self, rng: random.Random) -> Callable[[], list[int]]:
        at = rng.randrange(len(self._file)) if self._file else 0

        def sentence() -> list[int]:
            nonlocal at
            if self._file:
                at = (at + 1) % len(self._file)
                return self._encode(" " + self._file[at])
            return self._encode(" " + rng.choice(_SENTENCES).format(*rng.sample(KEYS, 3)))

        return sentence


class Definitions:
    """The embedded model's language: facts hidden among definitions, looked up in a chain.

    A passkey is two facts, `a=3` and `b=5`, each hidden by itself. It is asked for as the model's
    own chain of thought asks: a definition `x:a+b;` is copied, then its operands are looked up,
    `a=3 b=5`, which is the answer, and the result follows.
    """

    sample = "a=3; x:a+b".replace("x", NAMES[-1])

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: DuoSettings) -> None:
        self._encode, self._settings = _encoder(tokenizer), settings
        self._before, self._after = chat_prompt(tokenizer, _PLACE).split(_PLACE, maxsplit=1)
        most = (len(NAMES) - 1) // 2
        if settings.passkey_words != 2 or settings.passkeys > most:
            raise UserError(
                "In the embedded model's language a passkey has 2 words and there are at most "
                f"{most} of them; got {settings.passkeys} of {settings.passkey_words}."
            )

    def draw(self, length: int, rng: random.Random) -> PasskeyText:
        """See `PasskeyTexts.draw`."""
        names = rng.sample(NAMES, len(NAMES))
        pairs = [(names[2 * i], names[2 * i + 1]) for i in range(self._settings.passkeys)]
        others = names[2 * len(pairs) :]
        values = {name: rng.randrange(10) for pair in pairs for name in pair}
        facts = [self._encode(f" {name}={value};") for name, value in values.items()]
        chain = [_definition(rng, others, pair) for pair in pairs]
        asked = [piece for d in chain for piece in self._looked_up(d, values)]
        opening = Piece(self._encode(self._before))
        closing = Piece(self._encode(f" ?{chain[-1].name}{self._after}"))
        taken = _tokens([opening.ids, closing.ids, *facts, *(piece.ids for piece in asked)])
        unused = list(chain)  # what is asked for stands in the text, too

        def one() -> list[int]:
            d = unused.pop() if unused else _definition(rng, others, rng.sample(names, 2))
            return self._encode(f" {d};")

        filler = _filled(length - taken, one)
        rng.shuffle(filler)
        text = _hidden(filler, rng.sample(facts, len(facts)), self._settings, rng)
        return _assembled([opening, *map(Piece, text), closing, *asked])

    def _looked_up(self, d: Definition, values: dict[str, int]) -> list[Piece]:
        left, right = values[d.left], values[d.right]
        result = (left + right if d.op == "+" else left - right) % 10
        return [
            Piece(self._encode(f" {d};")),
            Piece(self._encode(f" {d.left}={left} {d.right}={right}"), answer=True),
            Piece(self._encode(f"; {left}{d.op}{right}={result}; {d.name}={result};")),
        ]


@dataclass(frozen=True)
class Piece:
    """Tokens of a text that belong together."""

    ids: Sequence[int]
    answer: bool = False


def _definition(rng: random.Random, names: Sequence[str], operands: Sequence[str]) -> Definition:
    left, right = operands
    return Definition(rng.choice(names), left, rng.choice("+-"), right)


def _encoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[int]]:
    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return encode


def _tokens(pieces: Iterable[Sequence[int]]) -> int:
    return sum(len(piece) for piece in pieces)


def _filled(room: int, one: Callable[[], list[int]]) -> list[list[int]]:
    """As many pieces as fit."""
    found: list[list[int]] = []
    while True:
        piece = one()
        room -= max(len(piece), 1)
        if room < 0:
            return found
        found.append(piece)


def _hidden(
    filler: list[list[int]],
    passkeys: list[list[int]],
    settings: DuoSettings,
    rng: random.Random,
) -> list[list[int]]:
    """The pieces with the passkeys among them, in order, each at a random depth."""
    depths = sorted(rng.uniform(settings.shallowest, settings.deepest) for _ in passkeys)
    found = list(filler)
    for depth, passkey in reversed(list(zip(depths, passkeys, strict=True))):
        found.insert(round(depth * len(filler)), passkey)
    return found


def _assembled(pieces: Sequence[Piece]) -> PasskeyText:
    ids: list[int] = []
    answer: list[int] = []
    for piece in pieces:
        if piece.answer:
            answer += range(len(ids), len(ids) + len(piece.ids))
        ids += piece.ids
    return PasskeyText(tuple(ids), tuple(answer))


def _sentences(path: str) -> list[str]:
    """The sentences of a text file.

    Raises:
        UserError: if it can't be read or holds none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The text '{path}' can't be read: name a UTF-8 text file.") from error
    found = [" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+", text)]
    found = [part for part in found if part]
    if not found:
        raise UserError(f"The text '{path}' is empty: name a text file with sentences.")
    return found
