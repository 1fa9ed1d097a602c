"""The story of the moment at which a model needs what a compressed head has lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ui.components.charts import line, lines_value, stack_value
from ui.components.tokens import roles_of, tokens_value, unpack_rows
from ui.glossary import term
from ui.stories.telling import (
    Record,
    Step,
    Story,
    Widget,
    final,
    head,
    percent,
    quoted,
    race,
    read,
    share_map,
    turns,
    verdict,
)

SHOWN = {"far": "lost", "query": "recent", "": "later"}
"""How the roles look where a compressed head has lost the far tokens."""


def story() -> Story:
    """All five steps, from the record.

    Raises:
        OSError, ValueError, KeyError: if the record is not as it should be.
    """
    moment = Moment(read("forgets"))
    steps = [_problem(moment), _look(moment), _window(moment), _all_heads(moment), _race(moment)]
    return Story(
        "forgets",
        "What a streaming head forgets",
        "The last step of an answer, and a look far back.",
        steps,
    )


class Moment:
    """The recorded moment: one query, one head, and what of it lies where."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.pieces: list[str] = record["pieces"]
        self.query: int = record["query"]
        self.window = (int(record["window"]["sink"]), int(record["window"]["recent"]))
        self.row: NDArray[np.float64] = unpack_rows(record["attention"], len(self.pieces))[
            self.query
        ]
        self.roles = roles_of(len(self.pieces), self.query, self.window)
        far = np.array([role == "far" for role in self.roles])
        self.n_far = int(far.sum())
        self.far_share = float(self.row[far].sum())
        self.top = int(np.argmax(np.where(far, self.row, -1.0)))
        """The far token that the head looks at most."""
        self.asked = int(record["asked"])
        """Position of the name that the question asks for."""

    @property
    def name(self) -> str:
        return head(self.record["head"])

    def share_of(self, role: str) -> float:
        wanted = [r == role or (role == "recent" and r == "query") for r in self.roles]
        return float(self.row[np.array(wanted)].sum())


def _problem(m: Moment) -> Step:
    back = m.query - m.asked
    value = tokens_value(
        "A question and the model's answer, token by token",
        m.pieces,
        roles=["query" if i == m.query else "" for i in range(len(m.pieces))],
        legend=[["query", "the moment we look at"]],
        breaks=turns(m.pieces),
        name="text",
    )
    words = [
        "A small model follows short programs: it was asked for the value of one name, and worked "
        "it out step by step, all sums modulo 10: its "
        f"{term('chain of thought', 'thinking', after='.')}",
        f"Now, at {quoted(m.pieces[m.query])}, it must write the answer: "
        f"{quoted(m.record['answer'])}. But which name was it asked for? The question ended with "
        f"{quoted('?' + m.pieces[m.asked].strip())}, <b>{back} tokens ago</b>.",
    ]
    return Step("A long way back", words, [Widget("tokens", value)])


def _look(m: Moment) -> Step:
    value = tokens_value(
        "Where this head looks",
        m.pieces,
        pattern=m.record["attention"],
        window=m.window,
        query=m.query,
        breaks=turns(m.pieces),
        name="attention",
    )
    parts = stack_value(
        "Its attention at this moment",
        [("sinks", "sink"), ("recent", "recent"), ("far", "far")],
        [m.share_of("sink"), m.share_of("recent"), m.share_of("far")],
    )
    reason = ": the name that the question asks for" if m.top == m.asked else ""
    words = [
        f"{m.name.capitalize()} keeps a "
        f"{term('full cache', 'full cache', after='.')} At this moment "
        f"<b>{percent(m.far_share)}</b> of its {term('attention', 'attention')} goes to "
        f"{term('far', 'far tokens', after='.')}",
        f"It looks most, with {percent(float(m.row[m.top]))}, at {quoted(m.pieces[m.top])}, "
        f"{m.query - m.top} tokens back{reason}.",
        "Point at any other token to see where the head looked from there. Click to hold it.",
    ]
    return Step("One head looks far", words, [Widget("tokens", value), Widget("chart", parts)])


def _window(m: Moment) -> Step:
    sink, recent = m.window
    left = m.row * np.array([r in ("sink", "recent", "query") for r in m.roles])
    seen = left / max(float(left.sum()), 1e-9)
    value = tokens_value(
        "What a compressed head would still have",
        m.pieces,
        weights=[float(np.sqrt(share)) for share in seen],
        roles=[SHOWN.get(role, role) for role in m.roles],
        legend=[["comp", "kept: sinks and recent tokens"], ["lost", "forgotten"]],
        breaks=turns(m.pieces),
        name="window",
    )
    total, size = m.query + 1, int(m.record["head_bytes"])
    steps = [0, sink + recent, total]
    memory = lines_value(
        "Memory of this one head",
        [
            line("full", "full", [(n, n * size) for n in steps]),
            line("compressed", "comp", [(n, min(n, sink + recent) * size) for n in steps]),
        ],
        x="tokens",
        y="KV memory",
        unit="B",
        height=150,
    )
    words = [
        f"A {term('compressed', 'compressed')} head keeps the first {sink} tokens, the "
        f"{term('sink', 'sinks', after=',')} and the "
        f"{term('recent', f'latest {recent}', after='.')} <b>{m.n_far} of {total} tokens are "
        f"gone</b>, and with them {percent(m.far_share)} of "
        "what this head was looking at.",
        "The rest would be stretched to 100 %: it would look hardest at "
        f"{quoted(m.pieces[int(np.argmax(seen))])}, with {percent(float(seen.max()))}, where "
        f"before it spent {percent(float(m.row[int(np.argmax(seen))]))}.",
        "What it gains: its memory stops growing.",
    ]
    return Step(
        "The same head, compressed", words, [Widget("tokens", value), Widget("chart", memory)]
    )


def _all_heads(m: Moment) -> Step:
    far = np.asarray(m.record["far"])
    picture = share_map(
        m.record["far"],
        title="Attention on far tokens at this moment, in %",
        column="far attention",
        low="0 %",
        high="100 %",
        selected=m.record["head"],
    )
    words = [
        f"At this moment all {far.size} heads look far back, with {percent(float(far.min()))} to "
        f"{percent(float(far.max()))} of their attention.",
        "So must all of them keep everything? No: looking far is not yet needing it. Many "
        "look far, and without it the answer comes out right all the same. Which heads matter "
        f"shows only in answers: from them the {term('gate', 'gates')} are learned. That is what "
        "the next story is about.",
    ]
    return Step("Every head does it", words, [picture])


def _race(m: Moment) -> Step:
    sides: list[Any] = m.record["race"]["sides"]
    full, cut = sides
    wrong = f"{quoted(final(cut))}, which is {verdict(cut['right'])}" if final(cut) else "nothing"
    words = [
        "And if every head forgets? Here the same question is answered twice: with the full "
        f"cache, and with all {np.asarray(m.record['kept']).size} heads compressed.",
        f"The full side answers {quoted(final(full))}, which is {verdict(full['right'])}; the "
        f"compressed side answers {wrong}.",
        f"Its {term('kv cache', 'KV cache')} stops growing early, but what the problem said is no "
        "longer in it.",
    ]
    widget = race(m.record, ("every head kept", "every head compressed"))
    return Step("When all heads forget", words, [widget])
