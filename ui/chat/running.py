"""Answers in the making: who waits, who writes, and what the browser has not seen yet.

A run is known to its page by a token that cannot be guessed, so that two tabs never mix. The page
asks for what is new (`Runs.pull`) as often as it can draw it; nothing is lost when it is slow.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlkv.dialogue import Control, Frame
from rlkv.masks import HeadMask
from ui.chat.blind import concealed, visible_lengths
from ui.chat.columns import Columns, figures
from ui.chat.plan import Plan
from ui.chat.reach import trained_on
from ui.engine import MODEL

FORGET_SECONDS = 120
"""A run is remembered that long after its end: its page may still have to read the last words."""
AT_REST_SECONDS = 0.3
"""A slider is moved in many small steps: one change is made of them."""


@dataclass
class Run:
    """One answer of all sides, from the press of the button to its end."""

    session: str
    sides: list[dict[str, Any]]
    """What the page says of each side: slot, role, name, hint."""
    plan: Plan
    order: tuple[int, ...] | None = None
    """In a blind comparison: which side is shown as A, which as B."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    switch: threading.Event = field(default_factory=threading.Event)
    state: str = "waiting"
    words: str = ""
    """Why it ended without an answer."""
    columns: list[Columns] = field(default_factory=list)
    read: list[list[list[int]]] = field(default_factory=list)
    """Of each side: tokens in the cache and measured bytes while the prompt was read."""
    frame: Frame | None = None
    ended_at: float | None = None
    paused: float = 0.0
    """Seconds of reading pace, which are no part of any time shown."""
    kept: str | None = None
    """The conversation that it was kept in."""
    left: bool = False
    """Its tab was closed."""
    extra: list[dict[str, Any]] = field(default_factory=list)
    """What is added to each side at the end: whether it is right."""
    in_line_at: float = field(default_factory=time.monotonic)
    """When it was last seen waiting in line, where it is put as it is made."""
    _asked: dict[int, tuple[HeadMask | None, Mapping[str, Any], float]] = field(
        default_factory=dict
    )
    _began: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.control = Control(self.switch)
        self.columns = [Columns() for _ in self.sides]
        self.read = [[] for _ in self.sides]

    def begin(self) -> None:
        """The model is ours."""
        self.state, self._began = "running", time.monotonic()

    def publish(self, frame: Frame) -> None:
        """Takes over a frame."""
        seconds = time.monotonic() - self._began - self.paused
        with self._lock:
            self.frame = frame
            for i, state in enumerate(frame.sides):
                self.columns[i].add(state, seconds)
                read = self.read[i]
                if not state.n_tokens and state.length and state.length != (read or [[0]])[-1][0]:
                    read.append([state.length, state.kv_bytes])

    def rest(self, seconds: float) -> None:
        """A pause at reading pace, cut short by Stop."""
        before = time.monotonic()
        self.switch.wait(seconds)
        self.paused += time.monotonic() - before

    def ask_change(self, place: int, mask: HeadMask | None, said: Mapping[str, Any]) -> None:
        """Another mask for a side, as soon as nobody moves its slider any more."""
        with self._lock:
            self._asked[place] = (mask, said, time.monotonic())

    def make_changes(self) -> None:
        """Hands the changes that have come to rest to the engine, but of sides that have ended."""
        now = time.monotonic()
        with self._lock:
            ready = {k: v for k, v in self._asked.items() if now - v[2] >= AT_REST_SECONDS}
            for place in ready:
                del self._asked[place]
        for place, (mask, said, _) in ready.items():
            if self.frame is None or self.frame.sides[place].stop_reason is None:
                self.control.change(place, mask)
                self.rename(place, said)

    def rename(self, side: int, facts: Mapping[str, Any]) -> None:
        """After a change of mask: the side's name, hint and role."""
        with self._lock:
            self.sides[side] = {**self.sides[side], **facts}

    def finish(self, words: str = "") -> None:
        """Nothing more will come."""
        self.control.stop()
        self.words, self.ended_at, self.state = words, time.monotonic(), "done"

    def since(self, have: Sequence[int]) -> list[dict[str, Any]]:
        """What each side has more than `have` tokens, in the order of the page."""
        with self._lock:
            return self._since(have)

    def _since(self, have: Sequence[int]) -> list[dict[str, Any]]:
        if self.frame is None:
            return []
        begins = list(have)
        if self.order is not None:  # the page counts by what it sees
            begins = [have[self.order.index(i)] for i in range(len(self.sides))]
        found = [self.side(i, begin) for i, begin in enumerate(begins)]
        return found if self.order is None else concealed(self._held_back(found), self.order)

    def side(self, i: int, begin: int = 0) -> dict[str, Any]:
        """All of one side, with its tokens from `begin` on."""
        assert self.frame is not None
        state, columns = self.frame.sides[i], self.columns[i]
        extra = self.extra[i] if self.extra else {}
        opening = ""
        if columns.t:
            opening = state.text[: len(state.text) - len("".join(columns.t))]
        found = {
            **self.sides[i],
            "from": begin,
            "cols": columns.since(begin),
            "now": {**figures(state), **extra},
            "opening": opening,
            "read": self.read[i],
            "breaks": [_break(cut, state) for cut in state.breaks],
        }
        if i:
            found["prefix"] = self.frame.common_prefix(i)
            found["diff"] = _difference(self.frame.differences[i])
        return found

    def answer(self) -> dict[str, Any]:
        """What is kept of it: all that the page shows, and all that a replay needs."""
        assert self.frame is not None
        kept = []
        for i, state in enumerate(self.frame.sides):
            side = {k: v for k, v in self.side(i).items() if k != "from"}
            side["now"] = {k: v for k, v in side["now"].items() if k != "reading"}
            side["now"]["stop"] = side["now"]["stop"] or "stopped"  # the page was closed
            kept.append({**side, "text": state.text})
        return {
            "run": self.token,
            "model": self.plan.settings.model,
            "words": self.plan.settings.words() + self._beyond(),
            "sampling": self.plan.settings.sampling(),
            "system": self.plan.settings.system,
            "order": None if self.order is None else list(self.order),
            "vote": None,
            "sides": kept,
        }

    def _beyond(self) -> str:
        """Said of an answer that went on where the embedded model was never trained."""
        assert self.frame is not None
        longest = max(side.length for side in self.frame.sides)
        if self.plan.settings.model != MODEL or longest <= trained_on():
            return ""
        return f" · beyond the {trained_on():,} tokens that it was trained on"

    @property
    def has_written(self) -> bool:
        """Whether there is anything to keep."""
        return self.frame is not None and any(s.n_tokens for s in self.frame.sides)

    def _held_back(self, sides: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """No side is shown ahead of the other: who reads first would tell them apart."""
        assert self.frame is not None
        counts = [state.n_tokens for state in self.frame.sides]
        allowed = visible_lengths(counts, [s.stop_reason is not None for s in self.frame.sides])
        for side, most, count in zip(sides, allowed, counts, strict=True):
            texts = side["cols"]["t"]
            side["cols"]["t"] = texts[: max(0, most - side["from"])]
            stop = side["now"]["stop"] if most >= count else None
            side["now"] = {"tokens": most, "stop": stop}
        return sides


class Runs:
    """All runs of the app: at most one a tab; who comes first is answered first."""

    def __init__(self, line: Callable[[str], int | None] = lambda session: None) -> None:
        self._line = line
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def begin(
        self,
        session: str,
        sides: list[dict[str, Any]],
        plan: Plan,
        order: tuple[int, ...] | None = None,
    ) -> Run | None:
        """A new run at the end of the line; None if this tab has one that is not over."""
        with self._lock:
            self._forget()
            if any(r.session == session and r.state != "done" for r in self._runs.values()):
                return None
            run = Run(session, sides, plan, order)
            self._runs[run.token] = run
            return run

    def of(self, session: str) -> Run | None:
        """The run of a tab that is not over."""
        with self._lock:
            found = [r for r in self._runs.values() if r.session == session and r.state != "done"]
        return found[-1] if found else None

    def get(self, token: str) -> Run | None:
        """The run of that token, for some time after its end."""
        return self._runs.get(token)

    def place(self, run: Run) -> int:
        """How many stand before a waiting run."""
        if (found := self._line(run.session)) is not None:
            run.in_line_at = time.monotonic()
            return found
        with self._lock:  # it is just being put into line
            before = list(self._runs.values())
        return sum(r.state != "done" for r in before[: before.index(run)]) if run in before else 0

    def stop(self, session: str) -> None:
        """Ends what a tab has running or waiting."""
        run = self.of(session)
        if run is not None:
            run.control.stop()
            if run.state == "waiting":
                run.finish("stopped")

    def pull(self, asked: object) -> dict[str, Any]:
        """What is new for a page: called by the browser, so nothing is taken on trust."""
        data = asked if isinstance(asked, dict) else {}
        run = self._runs.get(str(data.get("run")))
        if run is None:
            return {"state": "gone", "sides": []}
        have = data.get("have")
        counts = [_whole(n) for n in have] if isinstance(have, list) else []
        if len(counts) != len(run.sides):
            counts = [0] * len(run.sides)
        state = run.state  # before the tokens: "done" must not be told without the last of them
        place = self.place(run) if state == "waiting" else 0
        return {"state": state, "place": place, "words": run.words, "sides": run.since(counts)}

    def _forget(self) -> None:
        for token, run in list(self._runs.items()):
            if self._is_past(run, time.monotonic()):
                del self._runs[token]

    def _is_past(self, run: Run, now: float) -> bool:
        """Whether nobody reads it any more, or it waits for a page that went before it asked."""
        if run.ended_at is not None:
            return run.left or now - run.ended_at > FORGET_SECONDS
        if run.state == "waiting" and self._line(run.session) is not None:
            run.in_line_at = now
        return run.state == "waiting" and now - run.in_line_at > FORGET_SECONDS


def _whole(value: object) -> int:
    return min(value, 10**7) if isinstance(value, int) and value > 0 else 0


def _break(cut: Any, state: Any) -> dict[str, Any]:
    mask = cut.mask
    to = "the full cache" if mask is None else f"{100 * mask.sparsity:.0f} % of heads compressed"
    window = "" if mask is None else f", first {mask.sink} and latest {mask.recent} tokens"
    words = f"changed to {to}{window}; {cut.length:,} tokens read again in {cut.seconds:.2f} s"
    return {"at": cut.at, "length": cut.length, "seconds": cut.seconds, "words": words}


def _difference(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "at": found.at,
        "tokens": [None if one is None else one[1] for one in found.tokens],
        "ids": [None if one is None else one[0] for one in found.tokens],
        "p": None if found.probabilities is None else [list(row) for row in found.probabilities],
    }
