"""The buttons of a running answer: Stop, and another mask for one side."""

from __future__ import annotations

import threading

from rlkv.masks import HeadMask


class Control:
    """Handed to `converse`, and pressed from any thread.

    `switch` lets somebody else's event stop the answer too.
    """

    def __init__(self, switch: threading.Event | None = None) -> None:
        self._switch = switch or threading.Event()
        self._lock = threading.Lock()
        self._changes: dict[int, HeadMask | None] = {}

    def stop(self) -> None:
        """Ends all sides before their next token, or between two chunks of a prompt."""
        self._switch.set()

    @property
    def stopping(self) -> bool:
        """Whether Stop was pressed."""
        return self._switch.is_set()

    def change(self, side: int, mask: HeadMask | None) -> None:
        """Another mask for a side before its next token; the last of several counts.

        A side that has ended already takes no notice.
        """
        with self._lock:
            self._changes[side] = mask

    def take_changes(self) -> dict[int, HeadMask | None]:
        """The changes not yet made, by side; they are forgotten here."""
        with self._lock:
            changes, self._changes = self._changes, {}
        return changes
