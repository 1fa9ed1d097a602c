"""The story of one head whose compression alone turns right answers wrong."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ui.components.charts import bars_value, series
from ui.components.tokens import kl_tokens, tokens_value, unpack_rows
from ui.glossary import term
from ui.stories.telling import (
    Record,
    Step,
    Story,
    Widget,
    head,
    kept_of,
    percent,
    quoted,
    read,
    share_map,
    turns,
    verdict,
)


def story() -> Story:
    """All five steps, from the record.

    Raises:
        OSError, ValueError, KeyError: if the record is not as it should be.
    """
    case = Case(read("stays"))
    return Story(
        "stays",
        "Why this head must stay",
        "One head alone, compressed, and a token that turns.",
        [_alone(case), _first_change(case), _apart(case), _look(case), _contrast(case)],
    )


class Case:
    """The recorded head and the answer that it spoils."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.n = int(record["problems"]["n"])
        self.alone: NDArray[np.int64] = np.asarray(record["right_alone"])
        self.cell = (int(record["head"][0]), int(record["head"][1]))
        self.calm = (int(record["calm_head"][0]), int(record["calm_head"][1]))
        self.at = int(record["first_change"])
        self.before: list[str] = record["before"]["pieces"]
        self.after: list[str] = record["after"]["pieces"]
        self.window = (int(record["window"]["sink"]), int(record["window"]["recent"]))

    @property
    def name(self) -> str:
        return head(self.cell)

    @cached_property
    def row(self) -> NDArray[np.float64]:
        """Attention of the query before the changed token, on far tokens only."""
        query, (sink, recent) = int(self.record["query"]), self.window
        pattern = unpack_rows(self.record["attention"], len(self.record["pieces"]))
        row: NDArray[np.float64] = pattern[query]
        row[:sink] = row[max(sink, query - recent + 1) :] = 0.0
        return row

    def spoiled(self, cell: tuple[int, int]) -> int:
        """Answers of the full model that compressing one head turns wrong."""
        return int(self.record["right_full"]) - int(self.alone[cell])


def _alone(c: Case) -> Step:
    harmless = int((c.alone >= c.record["right_full"]).sum())
    spoiled = np.maximum(c.record["right_full"] - c.alone, 0)
    picture = share_map(
        (spoiled / c.n).tolist(),
        title=f"Answers of {c.n} that turn wrong with this one head compressed",
        column="answers spoiled",
        low="none",
        high="all",
        selected=c.cell,
        texts=[[str(v or "") for v in row] for row in spoiled.tolist()],
    )
    words = [
        f"Take the full model, compress <b>one single head</b>, and ask {c.n} unseen problems. "
        f"Then the next head, and so on. With no head compressed {c.record['right_full']} answers "
        "are right; the cells say how many of them turn wrong.",
        f"{harmless} of {c.alone.size} heads can go, one at a time, without a single wrong answer "
        f"more. But {c.name} alone spoils <b>{c.spoiled(c.cell)}</b>.",
    ]
    return Step("One head at a time", words, [picture])


def _first_change(c: Case) -> Step:
    record = c.record
    (was, p_was), (now, p_now) = record["likeliest"][c.at]
    value = kl_tokens(
        "The full model's answer, and where the odds move",
        c.before,
        record["kl"],
        before=[(b[0], b[1]) for b, _ in record["likeliest"]],
        after=[(a[0], a[1]) for _, a in record["likeliest"]],
        first_changed=c.at,
        names=("full", "without it"),
        name="change",
    )
    words = [
        f"One of these problems: {quoted(record['prompt'])}. Both models read the full model's "
        f"answer; the colour says how far the odds of each token move when {c.name} is compressed "
        f"{term('kl', 'KL divergence', before='(', after=').')}",
        f"The {term('first changed token', 'first token that changes')} is number {c.at + 1}. The "
        f"full model puts {percent(p_was)} on {quoted(was)}. Without this head, {percent(p_now)} "
        f"are on {quoted(now)}.",
    ]
    return Step("One token turns", words, [Widget("tokens", value)])


def _apart(c: Case) -> Step:
    def side(title: str, pieces: list[str], other: list[str], name: str) -> Widget:
        roles = ["new" if i >= len(other) or p != other[i] else "" for i, p in enumerate(pieces)]
        roles[c.at] = "changed"
        legend = [["changed", "first changed token"], ["new", "other differences"]]
        return Widget("tokens", tokens_value(title, pieces, roles=roles, legend=legend, name=name))

    same = (
        f"The first {c.at} tokens are the same" if c.at else "They differ from the first token on"
    )
    words = [
        f"{same}. Then every step builds on the one before, and a wrong token stays in the text.",
        f"The full model's answer is {verdict(c.record['before']['right'])}. With {c.name} "
        f"compressed it is {verdict(c.record['after']['right'])}.",
    ]
    return Step(
        "The answers part",
        words,
        [
            side("With every head", c.before, c.after, "full-answer"),
            side(f"With head {c.cell[0]}.{c.cell[1]} compressed", c.after, c.before, "cut-answer"),
        ],
    )


def _look(c: Case) -> Step:
    record, query = c.record, int(c.record["query"])
    pieces: list[str] = record["pieces"]
    top = int(np.argmax(c.row))
    value = tokens_value(
        "Where the head looks as it happens",
        pieces,
        pattern=record["attention"],
        window=c.window,
        query=query,
        breaks=turns(pieces),
        name="attention",
    )
    copied = pieces[top].strip() == c.before[c.at].strip()
    words = [
        f"At {quoted(pieces[query])}, just before the token that turned, {c.name} spends "
        f"<b>{percent(float(c.row.sum()))}</b> of its attention on "
        f"{term('far', 'far tokens', after=',')} and {percent(float(c.row[top]))} on one of them: "
        f"{quoted(pieces[top])}, {query - top} tokens back.",
    ]
    if copied:
        words.append(
            "That is the very token which the model has to write next. The head finds it in the "
            "question and helps to copy it: this is "
            f"{term('retrieval', 'retrieval', after='.')} Compressed, it can't see it any more, "
            "and the model is left to guess."
        )
    return Step("What it was looking at", words, [Widget("tokens", value)])


def _contrast(c: Case) -> Step:
    far = np.asarray(c.record["far"])
    cells = [c.cell, c.calm]
    names = [f"head {layer}.{kv}" for layer, kv in cells]
    looks = bars_value(
        "Attention on far tokens",
        [series("far", "far", [float(far[cell]) for cell in cells])],
        names,
        unit="%",
        range=(0, 1),
        height=140,
        hover=names,
    )
    spoils = bars_value(
        f"Answers of {c.n} it spoils when compressed",
        [series("spoiled", "bad", [c.spoiled(cell) for cell in cells])],
        names,
        range=(0, float(c.n)),
        height=140,
        hover=names,
    )
    words = [
        f"Is it enough, then, to keep the heads that look far? {head(c.calm).capitalize()} looks "
        f"far too: {percent(float(far[c.calm]))} of its attention on average, against "
        f"{percent(float(far[c.cell]))} of {c.name}. Yet compressing it spoils "
        f"{c.spoiled(c.calm) or 'no'} answers.",
        "Attention shows where a head looks, not whether the answer needs it. So the choice "
        f"is learned from {term('reward', 'rewards', after=':')} this {term('mask', 'mask')} keeps "
        f"{_kept(c, c.cell)} and compresses {_kept(c, c.calm)}.",
    ]
    return Step("Looking is not needing", words, [Widget("chart", looks), Widget("chart", spoils)])


def _kept(c: Case, cell: tuple[int, int]) -> str:
    """The head's name in the colour of its state."""
    role = "full" if kept_of(c.record)[cell] else "comp"
    return f'<b class="{role}">{head(cell)}</b>'
