"""Slow down the guessing of passwords. Knows counts in a window of time; knows no accounts.

Counts are of this process: with several processes on one PostgreSQL the limit holds for each of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from headwater.core.errors import Busy

KEYS_MAX = 10_000


class Throttle:
    """At most `limit` tries in `seconds` for each key (a name, an address), unless they succeed.

    Holds at most KEYS_MAX keys; those tried longest ago are forgotten first.
    """

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._limit, self._seconds, self._clock = limit, seconds, clock
        self._tries: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def enter(self, *keys: str) -> None:
        """Count a try for every key. It counts before it is known to fail, so that a hundred at once are not all
        let through. Raises Busy, and counts nothing, when one of the keys has had too many."""
        now = self._clock()
        with self._lock:
            found = [self._recent(key, now) for key in keys]
            for tries in found:
                if len(tries) >= self._limit:
                    wait = int(tries[0] + self._seconds - now) + 1
                    raise Busy("Too many wrong passwords.", retry_after=wait, hint=f"Try again in {wait} seconds.")
            for key, tries in zip(keys, found, strict=True):
                tries.append(now)
                self._tries[key] = tries
            while len(self._tries) > KEYS_MAX:
                self._tries.pop(next(iter(self._tries)))

    def succeeded(self, *keys: str) -> None:
        """The last try of these keys was no guess."""
        with self._lock:
            for key in keys:
                if tries := self._tries.get(key):
                    tries.pop()

    def _recent(self, key: str, now: float) -> deque[float]:
        tries = self._tries.pop(key, None) or deque()
        while tries and tries[0] <= now - self._seconds:
            tries.popleft()
        if tries:
            self._tries[key] = tries  # at the end: forgotten last
        return tries
