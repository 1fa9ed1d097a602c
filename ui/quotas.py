"""What one visitor of a shared copy may use of it. At home there are no limits."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import ClassVar

from rlkv.errors import UserError
from storage.errors import StorageError
from storage.limits import AT_HOME, DAY_S, Limits

VARIABLES = {
    "masks": "RLKV_VISITOR_MASKS",
    "masks_a_day": "RLKV_VISITOR_MASKS_A_DAY",
    "chats": "RLKV_VISITOR_CHATS",
    "active_jobs": "RLKV_VISITOR_ACTIVE_JOBS",
    "jobs_a_day": "RLKV_VISITOR_JOBS_A_DAY",
    "model_seconds": "RLKV_VISITOR_MODEL_SECONDS",
    "answer_tokens": "RLKV_VISITOR_ANSWER_TOKENS",
    "context": "RLKV_VISITOR_CONTEXT",
    "keep_days": "RLKV_KEEP_DAYS",
}
"""Where the owner of a copy says otherwise."""
LARGEST = 10**9
HOUR_S = 3600.0
LONGEST_ANSWER, LONGEST_CONTEXT = 32_768, 10**9
"""Tokens, where there are no quotas."""
MOST_ADDRESSES = 10_000
"""Remembered at once: those that used something longest ago are forgotten first."""


@dataclass(frozen=True)
class Quotas:
    """The numbers of a shared copy."""

    masks: int = 20
    """Kept at a time, as the conversations."""
    masks_a_day: int = 100
    """Newly kept from one address."""
    chats: int = 50
    active_jobs: int = 1
    jobs_a_day: int = 6
    model_seconds: int = 600
    """Of a running model in an hour, by address."""
    answer_tokens: int = 1_024
    """Longest answer."""
    context: int = 8_192
    """Tokens of a prompt that can be filled, where the model reads more."""
    keep_days: int = 30
    """After which what belongs to a visitor who does not come back is deleted."""

    @classmethod
    def from_environment(cls, given: Mapping[str, str] | None = None) -> Quotas:
        """The defaults, but for what the environment says.

        Raises:
            StorageError: naming a variable that is no number.
        """
        given = os.environ if given is None else given
        told = {f.name: given.get(VARIABLES[f.name], "").strip() for f in fields(cls)}
        return cls(**{name: _whole(VARIABLES[name], text) for name, text in told.items() if text})

    @property
    def limits(self) -> Limits:
        """What the database holds a visitor to."""
        return Limits(self.masks, self.chats, self.active_jobs, self.jobs_a_day)


def _whole(variable: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > LARGEST:
        raise StorageError(f"{variable} is {text!r}; it has to be a whole number from 0 on.")
    return int(text)


class Meter:
    """What every address used of something within the last while. Forgotten at a restart.

    By address, because whoever drops their cookie is a new visitor at the same address.
    """

    def __init__(
        self, most: float, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most, self._window, self._clock = most, window_s, clock
        self._used: dict[str, deque[tuple[float, float]]] = {}
        self._lock = threading.Lock()

    def left(self, who: str) -> float:
        """What an address may still use now."""
        with self._lock:
            return max(0.0, self.most - sum(amount for _, amount in self._recent(who)))

    def frees_in(self, who: str) -> float:
        """Seconds until there is something left again; 0 where there is."""
        with self._lock:
            recent = self._recent(who)
            total = sum(amount for _, amount in recent)
            for at, amount in recent:
                if total < self.most:
                    break
                total -= amount
                if total < self.most:
                    return max(0.0, at + self._window - self._clock())
        return 0.0 if total < self.most else self._window

    def add(self, who: str, amount: float) -> None:
        """Counts a use."""
        with self._lock:
            self._add(who, amount)

    def take(self, who: str, amount: float) -> bool:
        """Counts a use where something is left, in one step: of many at once none slips past.

        The last one may be larger than what was left.
        """
        with self._lock:
            if sum(used for _, used in self._recent(who)) >= self.most:
                return False
            self._add(who, amount)
            return True

    def give_back(self, who: str, amount: float) -> None:
        """Forgets the latest use of that amount: it came to nothing."""
        with self._lock:
            recent = self._recent(who)
            for i in reversed(range(len(recent))):
                if recent[i][1] == amount:
                    del recent[i]
                    return

    def _add(self, who: str, amount: float) -> None:
        recent = self._recent(who)
        recent.append((self._clock(), amount))
        self._used.pop(who, None)
        self._used[who] = recent
        while len(self._used) > MOST_ADDRESSES:
            del self._used[next(iter(self._used))]

    def _recent(self, who: str) -> deque[tuple[float, float]]:
        recent = self._used.get(who, deque())
        while recent and recent[0][0] <= self._clock() - self._window:
            recent.popleft()
        return recent


class ModelTime(Meter):
    """Seconds in which a model runs for somebody; counted as they end, since all that runs a model
    stands in one line (`ui.events.MODEL_RUNS`)."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(seconds, HOUR_S, clock)

    def require(self, who: str) -> None:
        """Raises UserError where none is left, saying when there will be."""
        if self.left(who) > 0:
            return
        minutes = self.frees_in(who) / 60
        raise UserError(
            f"This public copy runs a model for you for {self.most:,.0f} seconds an hour, and they "
            f"are used up: there are more in {max(1, round(minutes))} minutes. {AT_HOME}"
        )

    @contextmanager
    def counted(self, who: str) -> Iterator[None]:
        """Counts the seconds of a block. What has begun is finished, though it be too long."""
        began = self._clock()
        try:
            yield
        finally:
            self.add(who, self._clock() - began)


class _ADay(Meter):
    """Things done within a day, each counted as one."""

    done: ClassVar[str]
    """What was done, in words."""
    instead: ClassVar[str] = ""
    """A sentence on what is left to do."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(most, DAY_S, clock)

    @contextmanager
    def one(self, who: str) -> Iterator[None]:
        """Counts what a block does, before it does it; not where it fails.

        Raises:
            UserError: where an address has done as many as it may.
        """
        if not self.take(who, 1):
            hours = self.frees_in(who) / 3600
            raise UserError(
                f"From your address {self.most:.0f} {self.done} within a day, which is what this "
                f"public copy allows: there is room in {max(0.1, hours):.1f} hours. "
                f"{self.instead}{AT_HOME}"
            )
        try:
            yield
        except BaseException:
            self.give_back(who, 1)
            raise


class JobsStarted(_ADay):
    """Jobs that were started, in a day."""

    done = "jobs were started"


class MasksKept(_ADay):
    """Masks that were kept, in a day; a visitor's limit at a time is none to ever new visitors."""

    done = "masks were kept"
    instead = "Take the mask away as a file or link. "
