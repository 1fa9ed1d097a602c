"""What the transcript shows of a kept conversation: the open branch, turn by turn.

Plain values for `static/chat.js`. The tokens of an answer are fetched by the browser when it shows
the turn (`tokens_of`). An undecided blind comparison is concealed in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ui.chat.blind import concealed
from ui.chat.kept import Node

Turn = dict[str, Any]


def turns(branch: Sequence[Node]) -> list[Turn]:
    """The turns of a branch: each a question with its answer, as far as it has one."""
    found: list[Turn] = []
    for node in branch:
        if node.role == "user":
            user = {"id": node.id, "text": node.text, "ids": list(node.siblings)}
            found.append({"user": user, "answer": None, "sides": []})
        elif found:
            found[-1].update(_answered(node))
    return [turn for turn in found if turn["answer"]]


def _answered(node: Node) -> Turn:
    answer = node.answer
    order = answer.get("order")
    vote = answer.get("vote")
    full = [light(side) for side in answer["sides"]]
    undecided = order is not None and vote is None
    blind = None
    if order is not None:
        blind = {"open": undecided, "words": "" if undecided else vote_words(answer)}
    return {
        "answer": {"id": node.id, "ids": list(node.siblings)},
        "run": answer.get("run"),
        "words": "" if undecided else answer.get("words", ""),
        "blind": blind,
        "sides": concealed(full, order) if undecided and order else full,
    }


def light(side: dict[str, Any]) -> dict[str, Any]:
    """A side without its tokens."""
    return {name: value for name, value in side.items() if name not in ("cols", "text")}


def tokens_of(node: Node) -> list[dict[str, Any]]:
    """The tokens of each side of an answer, in the order of the page."""
    answer = node.answer
    order = answer.get("order")
    sides = [{**side, "from": 0} for side in answer["sides"]]
    if order is not None and answer.get("vote") is None:
        return [{"cols": s["cols"], "opening": s["opening"]} for s in concealed(sides, order)]
    return [{"cols": s.get("cols") or {}, "opening": s.get("opening", "")} for s in sides]


def earlier(branch: Sequence[Node]) -> tuple[Turn, ...]:
    """The turns as later answers read them: the question, and what each side said."""
    found: list[Turn] = []
    for node in branch:
        if node.role == "user":
            found.append({"user": node.text, "sides": []})
        elif found:
            said = [{"slot": s["slot"], "text": s["text"]} for s in node.answer["sides"]]
            found[-1]["sides"] = said
    return tuple(turn for turn in found if turn["sides"])


def vote_words(answer: dict[str, Any]) -> str:
    """What was voted, and who was who."""
    order, vote, sides = answer["order"], answer["vote"], answer["sides"]
    names = [sides[i]["name"] for i in order]
    who = f"A was {names[0]}, B was {names[1]}."
    if vote == "skip":
        return f"Shown without a vote. {who}"
    if vote == "tie":
        return f"You found neither better. {who}"
    return f"You voted for {'A' if vote == 'a' else 'B'}. {who}"
