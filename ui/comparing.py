"""Answering one question under two caches: who is being answered, what is on screen, Stop.

Turns the engine's snapshots into frames of the side-by-side widget. Lays out nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from rlkv.errors import UserError
from rlkv.masks import HeadMask
from rlkv.tasks import Problem, get_task
from rlkv.tasks.tracing import solve
from ui.components.race import Curve, final, frame, side
from ui.engine import LONGEST_PROMPT, MODEL, Engine
from ui.studio import Studio

MAX_NEW_TOKENS = 256
FRAME_SECONDS = 0.05
"""At least this long between two pictures: 20 a second look continuous."""
READING_SECONDS = 0.04
"""Pause between tokens at reading pace. The embedded model writes hundreds a second, too fast to
see; the speeds on screen are the model's own, without the pauses."""
ROLES = ("full", "compressed")
EXAMPLE = "c=7; b=6; e:c-b; k:c-e; ?k"


@dataclass
class Answering:
    """One running comparison: its stop switch and what is on screen."""

    stop: threading.Event = field(default_factory=threading.Event)
    sides: tuple[Any, ...] = ()
    shown: dict[str, Any] | None = None


class Comparing:
    """The running comparisons, one a browser tab."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._running: dict[str | None, Answering] = {}

    def is_running(self, session: str | None) -> bool:
        return session in self._running

    def stop(self, session: str | None) -> dict[str, Any] | None:
        """Ends a comparison at once; returns its last frame, marked as stopped."""
        now = self._running.get(session)
        if now is None:
            return None
        now.stop.set()
        return stopped(now.shown) if now.shown else idle()

    def frames(
        self, session: str | None, question: str, mask: HeadMask, *, slowly: bool
    ) -> Iterator[dict[str, Any]]:
        """Yields what to show, about 20 times a second, and stores the finished comparison.

        Raises:
            UserError: if the model can't read the question.
        """
        question = question.strip()
        check(self._studio.engine, question)
        now = self._running[session] = Answering()
        try:
            for sides, shown in self._steps(question, mask, now, slowly):
                now.sides, now.shown = sides, shown
                yield shown
            self._keep(question, mask, now.sides)
        finally:
            now.stop.set()
            if self._running.get(session) is now:
                del self._running[session]

    def _steps(
        self, question: str, mask: HeadMask, now: Answering, slowly: bool
    ) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """(snapshots, frame), not more often than they can be seen, the last one always."""
        curves: list[Curve] = [[], []]
        hints = kept_words(mask)
        sides: tuple[Any, ...] = ()
        drawn_at = 0.0
        steps = self._studio.engine.compare(
            question, mask, max_new_tokens=MAX_NEW_TOKENS, stop=now.stop
        )
        with closing(steps):
            for sides in steps:
                for curve, one in zip(curves, sides, strict=True):
                    if not curve or curve[-1][0] < one.length:
                        curve.append((one.length, one.kv_bytes))
                if time.monotonic() - drawn_at >= FRAME_SECONDS:
                    drawn_at = time.monotonic()
                    yield sides, picture(sides, curves, hints, question)
                if slowly:
                    now.stop.wait(READING_SECONDS)
        yield sides, picture(sides, curves, hints, question)

    def _keep(self, question: str, mask: HeadMask, sides: tuple[Any, ...]) -> None:
        settings = {
            "mask": mask.name,
            "sparsity": mask.sparsity,
            "sink": mask.sink,
            "recent": mask.recent,
        }
        chats = self._studio.chats
        chat = chats.create(MODEL, question[:80], settings)
        chats.add_message(chat.id, "user", question)
        for role, one in zip(ROLES, sides, strict=True):
            stats = {
                "tokens": one.n_tokens,
                "length": one.length,
                "kv_bytes": one.kv_bytes,
                "seconds": one.seconds,
                "stop_reason": one.stop_reason,
            }
            chats.add_message(chat.id, "assistant", one.text, role, stats)


def check(engine: Engine, question: str) -> None:
    """Refuses what the model can't read, with words that help.

    Raises:
        UserError: if so.
    """
    if not question:
        raise UserError("Write a question first, or take one of the examples.")
    if len(question) > LONGEST_PROMPT:
        raise UserError(f"That is too long: keep it under {LONGEST_PROMPT:,} characters.")
    engine.wait(120)
    if words := engine.unreadable(question):
        shown = ", ".join(f"“{word[:20]}”" for word in words[:3])
        more = " and more" if len(words) > 3 else ""
        raise UserError(
            f"The embedded model has no token for {shown}{more}. It reads puzzles such as "
            f"“{EXAMPLE}”, with the names a to l."
        )


# --- frames -------------------------------------------------------------------------------


def picture(
    sides: tuple[Any, ...], curves: list[Curve], hints: list[str], question: str
) -> dict[str, Any]:
    """The frame for two snapshots and the curves so far."""
    drawn = [
        side(
            role,
            hint=hint,
            text=one.text,
            n=one.n_tokens,
            seconds=one.seconds,
            bytes=one.kv_bytes,
            stop=one.stop_reason,
            right=is_right(question, one),
        )
        for role, hint, one in zip(ROLES, hints, sides, strict=True)
    ]
    return frame(drawn, curves, agree=agreement(sides, curves))


def idle(mask: HeadMask | None = None) -> dict[str, Any]:
    """The frame before the first token."""
    hints = kept_words(mask) if mask is not None else ["every head kept", "some heads compressed"]
    drawn = [side(role, hint=hint) for role, hint in zip(ROLES, hints, strict=True)]
    return frame(drawn, [[], []])


def stopped(shown: dict[str, Any]) -> dict[str, Any]:
    """A frame as it is when Stop was pressed."""
    return {
        **shown,
        "sides": [{**one, "stop": one["stop"] or "stopped"} for one in shown["sides"]],
    }


def kept_words(mask: HeadMask) -> list[str]:
    """How many heads each side keeps."""
    total = mask.kept.size
    return [f"{total} of {total} heads kept", f"{mask.n_kept} of {total} heads kept"]


def is_right(question: str, one: Any) -> bool | None:
    """Whether a finished answer is right; None if that can't be known."""
    if one.stop_reason is None:
        return None
    try:
        problem = Problem(question, solve(question)[1])
    except ValueError:
        return None
    return get_task("tracing").reward(one.text, problem) == 1.0


def agreement(sides: tuple[Any, ...], curves: list[Curve]) -> str:
    """Whether both finished answers are the same, in words; "" before the end."""
    if not sides or any(one.stop_reason is None for one in sides) or not all(curves):
        return ""
    length = min(curve[-1][0] for curve in curves)
    full, compressed = (final(one.text) for one in sides)
    if not full or not compressed:
        return f"at {length} tokens; not both came to an answer"
    return f"at {length} tokens; the answers {'agree' if full == compressed else 'differ'}"
