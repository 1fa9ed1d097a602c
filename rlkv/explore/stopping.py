"""Ending a measurement early. What it would have said is then not said by half."""

from __future__ import annotations

from collections.abc import Callable

Stop = Callable[[], bool]
"""Asked now and then during a measurement; True ends it with `Stopped`."""


class Stopped(Exception):
    """The measurement was ended because `stop()` said so; there is no result."""


def never() -> bool:
    """Goes on to the end."""
    return False


def check(stop: Stop) -> None:
    """Goes on or ends.

    Raises:
        Stopped: if `stop()` says so.
    """
    if stop():
        raise Stopped
