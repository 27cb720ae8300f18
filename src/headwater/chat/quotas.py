"""How much an account, and each of its tokens, may ask for in a day. Counted in memory: a restart forgets.

A request is let in while the day's tokens are not spent, and its own count when it ends; so the last one may go over.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from headwater.core.errors import Busy
from headwater.core.settings import Settings
from headwater.core.types import Actor

DAY_S = 86_400


class QuotaSpent(Busy):
    """Nothing more today. `retry_after` is until the next day, UTC."""

    code = "QuotaSpent"


class Quotas:
    """Settings of 0 are no limit. Days are those of UTC."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time):
        self._settings, self._now = settings, now
        self._day = 0
        self._spent: dict[tuple[str, object], list[int]] = {}

    def take(self, actor: Actor) -> None:
        """Count a request. Raises QuotaSpent, and counts nothing, when the account or its token has no more."""
        self._turn_page()
        for key, whose, requests, tokens in self._limits(actor):
            asked, used = self._spent.get(key, (0, 0))
            for spent, most, what in ((asked, requests, "requests"), (used, tokens, "tokens")):
                if most and spent >= most:
                    raise QuotaSpent(f"{whose} has used {spent:,} of {most:,} {what} of today.",
                                     retry_after=int(DAY_S - self._now() % DAY_S) + 1,
                                     hint="A new day begins at 00:00 UTC; an administrator can raise the quota.")
        self._add(actor, 0, 1)

    def used(self, actor: Actor, tokens: int) -> None:
        self._turn_page()
        self._add(actor, 1, tokens)

    def _limits(self, actor: Actor) -> list[tuple[tuple[str, object], str, int, int]]:
        s = self._settings
        limits: list[tuple[tuple[str, object], str, int, int]] = [
            (("account", actor.name), f"The account {actor.name}", s.user_requests_per_day, s.user_tokens_per_day)]
        if actor.token_id is not None:
            limits.append((("token", actor.token_id), f"The token {actor.token_name!r}", s.token_requests_per_day,
                           s.token_tokens_per_day))
        return limits

    def _add(self, actor: Actor, what: int, amount: int) -> None:
        for key, *_ in self._limits(actor):
            self._spent.setdefault(key, [0, 0])[what] += amount

    def _turn_page(self) -> None:
        if (day := int(self._now() // DAY_S)) != self._day:
            self._day, self._spent = day, {}
