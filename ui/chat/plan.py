"""What is to be answered, how, and after what: everything one press of a button settles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlkv.dialogue import Message
from rlkv.errors import UserError
from ui.chat.sides import SHOWN, Choice, choice
from ui.engine import LONGEST_PROMPT, MODEL
from ui.quotas import LONGEST_ANSWER, LONGEST_CONTEXT

LONGEST_TEXT = 2_000_000
"""Characters of a question for other models than the embedded one; their context limits it too."""
CHARACTERS = 4
"""Of a token, about: how long a question may be where its tokens are limited."""


@dataclass(frozen=True)
class Settings:
    """The fields of the page at one moment."""

    model: str
    sides: tuple[Choice, ...]
    slots: tuple[int, ...]
    blind: bool = False
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    longest: int = 256
    system: str = ""
    remember: bool = True
    slowly: bool = False

    def sampling(self) -> dict[str, Any]:
        """As `rlkv.generation.Sampling` takes it."""
        return {
            "max_new_tokens": self.longest,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
        }

    def words(self) -> str:
        """In a few words, for the line under an answer."""
        how = "greedy"
        if self.temperature > 0:
            how = f"temperature {self.temperature:g}, top-p {self.top_p:g}, seed {self.seed}"
        return f"{self.model.rpartition('/')[2][:40]} · {how}"


@dataclass(frozen=True)
class Plan:
    """One answer to be made."""

    settings: Settings
    question: str
    chat: str | None = None
    """Id of the conversation; None begins one."""
    parent: int | None = None
    """The message that the question follows; None where it is the first."""
    asked: int | None = None
    """The question where it is kept already: it is answered again."""
    earlier: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """The turns before, as the page has them: `{"user": text, "sides": [{slot, text}]}`."""

    def history(self, slot: int) -> tuple[Message, ...]:
        """What a side reads: its own earlier answers; the first side's where it has none."""
        said: list[Message] = []
        if self.settings.system.strip():
            said.append(Message("system", self.settings.system.strip()))
        for turn in self.earlier if self.settings.remember else ():
            own = next((s for s in turn["sides"] if s["slot"] == slot), turn["sides"][0])
            said += [Message("user", turn["user"]), Message("assistant", own["text"])]
        return (*said, Message("user", self.question))


def settings_of(
    model: str,
    shown: Any,
    fields: Sequence[Any],
    sampling: Sequence[Any],
    longest_answer: int = LONGEST_ANSWER,
) -> Settings:
    """The page's fields, checked.

    Args:
        shown: the chips: which sides answer.
        fields: key, sparsity, sink, recent of the three sides, one after another.
        sampling: blind, temperature, top-p, seed, longest answer, system, remember, slowly.
        longest_answer: tokens that may be asked for.

    Raises:
        UserError: naming what can't be.
    """
    slots = SHOWN.get(str(shown), SHOWN["both"])
    rows = [fields[i : i + 4] for i in range(0, len(fields), 4)]
    blind, temperature, top_p, seed, longest, system, remember, slowly = sampling
    if blind and len(slots) != 2:
        raise UserError("A blind comparison needs two sides: choose Both.")
    heat, mass = _within(temperature, "temperature", 0, 5), _within(top_p, "top-p", 0, 1)
    if mass == 0:
        raise UserError("Top-p has to be above 0.")
    return Settings(
        model=model,
        sides=tuple(choice(*rows[slot]) for slot in slots),
        slots=slots,
        blind=bool(blind),
        temperature=heat,
        top_p=mass,
        seed=int(_within(seed, "seed", 0, 2**31 - 1)),
        longest=int(_within(longest, "longest answer", 1, longest_answer)),
        system=str(system or "")[:LONGEST_PROMPT],
        remember=bool(remember),
        slowly=bool(slowly),
    )


def question_of(
    text: Any, model: str, longest: int = LONGEST_CONTEXT, beyond: int | None = None
) -> str:
    """What was asked, without blanks around it; at most about `longest` tokens.

    `beyond`: tokens that the embedded model is given, where they are more than it was trained on.

    Raises:
        UserError: if there is nothing, or too much.
    """
    question = str(text or "").strip()
    if not question:
        raise UserError("Write a question first, or take one of the examples.")
    if model == MODEL:
        most = max(LONGEST_PROMPT, CHARACTERS * (beyond or 0))
    else:
        most = min(LONGEST_TEXT, CHARACTERS * longest)
    if len(question) > most:
        raise UserError(f"That is too long: keep it under {most:,} characters.")
    return question


def _within(value: Any, what: str, low: float, high: float) -> float:
    ok = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    if not ok or not low <= value <= high:
        raise UserError(f"The {what} has to be a number between {low:g} and {high:,g}.")
    return float(value)
