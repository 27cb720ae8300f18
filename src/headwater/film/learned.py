"""How long a film takes, from the films this hub made: seconds for each unit of its engine's work, the newest ones
alone, for a machine and its load change. Knows no order and no queue.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from headwater.core.film import Estimate, Normalised, work_of
from headwater.film import Film

LOOKED_AT, LEARNED_FROM, NEEDED = 200, 50, 3
"""Films that are read, films a rate is taken from, and films without which none is."""


@dataclass(frozen=True)
class Rates:
    """low, middle and high: seconds a unit of work took."""

    low: float
    middle: float
    high: float


class Learned:
    """What the films made so far tell, read once."""

    def __init__(self, film: Film):
        done, _ = film.films.page(None, state="done", limit=LOOKED_AT)
        self._film = film
        self._found: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for one in done:
            receipt = one.receipt or {}
            if receipt.get("work") and not receipt.get("draft"):
                key = self._key(receipt.get("engine", ""), one.asked.get("model", ""), one.asked.get("steps"))
                self._found[key].append(receipt["seconds"] / receipt["work"])

    def rates(self, engine: str, model: str, steps: int | None) -> Rates | None:
        """None while too few are made."""
        rates = sorted(self._found.get(self._key(engine, model, steps), [])[:LEARNED_FROM])
        return Rates(rates[0], rates[len(rates) // 2], rates[-1]) if len(rates) >= NEEDED else None

    def _key(self, engine: str, model: str, steps: int | None) -> tuple[Any, ...]:
        # An engine that measures its own work has its steps in it, so films of any number of steps teach.
        measured = engine in self._film.engines.names() and hasattr(self._film.engines[engine], "work")
        return (engine, model) if measured else (engine, model, steps)


def estimate(film: Film, normalised: Normalised) -> Estimate:
    """Of the engine, or from films this hub made by the same engine and model: the middle, least and most of them,
    scaled by the work."""
    request = normalised.request
    own = film.engines[request.engine].estimate(request)
    rates = Learned(film).rates(request.engine, request.model, request.steps)
    if rates is None:
        return own
    work = work_of(film.engines[request.engine], request)
    return Estimate(rates.middle * work, rates.low * work, rates.high * work, own.memory_bytes)
