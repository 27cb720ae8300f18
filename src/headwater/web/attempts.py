"""Slow down the guessing of passwords. Knows counts in a window of time; knows no accounts."""

from __future__ import annotations

import threading
import time
from collections import deque

from headwater.core.errors import Busy

KEYS_MAX = 10_000


class Attempts:
    """At most `limit` failures in `seconds` for each key (a name, an address)."""

    def __init__(self, limit: int, seconds: float):
        self._limit, self._seconds = limit, seconds
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, *keys: str) -> None:
        """Raises Busy when one of the keys has failed too often lately."""
        with self._lock:
            for key in keys:
                times = self._failures.get(key)
                while times and times[0] < time.monotonic() - self._seconds:
                    times.popleft()
                if times and len(times) >= self._limit:
                    wait = int(times[0] + self._seconds - time.monotonic()) + 1
                    raise Busy("Too many wrong passwords.", retry_after=wait, hint=f"Try again in {wait} seconds.")

    def failed(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._failures.setdefault(key, deque(maxlen=self._limit)).append(time.monotonic())
            while len(self._failures) > KEYS_MAX:
                self._failures.pop(next(iter(self._failures)))
