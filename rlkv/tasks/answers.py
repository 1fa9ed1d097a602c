"""Finding the one final answer of a completion.

Three rules hold for every task that looks for a stated answer:

- what is inside a thinking part does not count, and unfinished thinking earns nothing;
- the answer has to be stated: `\\boxed{...}`, `<answer>...</answer>`, `#### ...` or
  "the (final) answer is ...", in this order of preference;
- who states two different answers has given none.
"""

from __future__ import annotations

import re

THINK, THINK_END = "<think>", "</think>"
MAX_ANSWER = 2000
"""Characters of a stated answer; longer ones are no answers."""

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_HASHED = re.compile(r"^\s*####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_SAID = re.compile(
    r"\b(?:final\s+answer|answer)(?:\s*\*\*)?(?:\s+is|\s*:)(?:\s*:)?(?:\s*\*\*)?[ \t]*\n?[ \t]*"
    r"(\S[^\n]*?)(?=\.(?:\s|$)|\n|$)",
    re.IGNORECASE,
)


def opened_thinking(chat_prompt: str) -> str:
    """The tag to put before a completion whose chat prompt opens the thinking part itself."""
    return THINK if chat_prompt.rstrip().endswith(THINK) else ""


def final_part(completion: str) -> str | None:
    """What follows the last closed thinking part; None if thinking was opened and not closed."""
    _, _, rest = completion.rpartition(THINK_END)
    return None if THINK in rest else rest


def stated_answer(completion: str) -> str | None:
    """The one answer that the final part states; None if there is none or several differ."""
    final = final_part(completion)
    if final is None:
        return None
    for found in (boxed(final), _TAGGED.findall(final), _HASHED.findall(final)):
        if found is None:  # a box that never closes: cut off in the middle of the answer
            return None
        if found:
            return _only(found)
    if "<answer>" in final.lower():
        return None
    return _only([said for said in _SAID.findall(final) if said.strip("*$ ")])


def boxed(text: str) -> list[str] | None:
    """The contents of all `\\boxed{...}` and `\\fbox{...}`; None if one is left open."""
    contents: list[str] = []
    at = 0
    for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text):
        if match.start() < at:  # inside another box
            continue
        depth = 1
        for at in range(match.end(), len(text)):
            if text[at] in "{}" and text[at - 1] != "\\":
                depth += 1 if text[at] == "{" else -1
            if not depth:
                break
        if depth:
            return None
        contents.append(text[match.end() : at])
    return contents


def tidy(answer: str) -> str:
    """An answer without the marks around it: dollar signs, bold, spaces, a last full stop."""
    text = " ".join(answer.split())
    while text != (bare := text.strip("$*` ").removesuffix(".").strip()):
        text = bare
    return text.removeprefix("\\(").removesuffix("\\)").strip()


def same_text(given: str, right: str) -> bool:
    """Whether two answers are the same words, spaces and capitals aside."""
    return tidy(given).casefold() == tidy(right).casefold()


def _only(answers: list[str]) -> str | None:
    different = {tidy(answer) for answer in answers}
    if len(different) != 1:
        return None
    (answer,) = different
    return answer if 0 < len(answer) <= MAX_ANSWER else None
