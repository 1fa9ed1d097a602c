"""Time as a supervisor has to see it: by the clock that nobody can set."""

import time


class Stopwatches:
    """How long values have stayed the same, by the monotonic clock: setting the time of day
    or closing a laptop's lid must not make a living worker look dead."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[object, float]] = {}

    def unchanged_for(self, owner: str, name: str, value: object) -> float:
        """Seconds since this value was first seen here; 0 for a new one."""
        now = time.monotonic()
        known, since = self._seen.get((owner, name), (None, now))
        if known != value:
            since = now
        self._seen[owner, name] = (value, since)
        return now - since

    def keep(self, owners: set[str]) -> None:
        """Forget everybody else."""
        self._seen = {key: value for key, value in self._seen.items() if key[0] in owners}


class ClockWatch:
    """Notices when the time of day and the monotonic clock come apart by more than ``lease_s``."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._difference = time.time() - time.monotonic()

    def jump(self) -> float:
        """Seconds by which the clock was moved since the last call; 0 for less than a lease."""
        difference = time.time() - time.monotonic()
        moved, self._difference = difference - self._difference, difference
        return moved if abs(moved) > self._lease_s else 0.0


def jump_told(seconds: float) -> str:
    """The line for a job's log."""
    return f"The computer's clock was moved by {seconds:.0f} s, or it slept. The job goes on."
