"""When to try again, and whether the daemon that answers then is still the same one."""

from __future__ import annotations

INITIAL = 0.1
CAP = 5.0
STABLE = 1.0
"""Seconds that a connection has to stand before the next loss counts as the first."""


class Backoff:
    """Exponential, with full jitter."""

    def __init__(self, initial: float = INITIAL, cap: float = CAP) -> None:
        self._initial = initial
        self._cap = cap
        self._tries = 0

    def delay(self, chance: float) -> float:
        """Seconds until the next try; `chance` is a random number from 0 to 1."""
        limit = min(self._cap, self._initial * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return limit * chance

    def stood(self, seconds: float, was_used: bool) -> None:
        """A connection has ended. One that carried nothing and ended at once does not count as a success."""
        if was_used or seconds >= STABLE:
            self._tries = 0


class Runs:
    """Tells whether the daemon has restarted. In doubt it has.

    The daemon gives its uptime in whole seconds. It began before `answered - uptime`. If that is before the moment at
    which its predecessor was last heard of, the two are one process.
    """

    def __init__(self) -> None:
        self._heard: float | None = None

    def heard(self, now: float) -> None:
        """A frame of the daemon has arrived."""
        self._heard = now

    def is_same(self, answered: float, uptime: float) -> bool:
        """Whether the daemon that gave this uptime is the one that was heard of before."""
        return self._heard is None or answered - uptime <= self._heard
