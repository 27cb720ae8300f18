"""How much an account, and each of its tokens, may ask for in a day. Counted in the records, a moment later.

A request is let in while the day's tokens are not spent, and its own count when it ends; so the last one may go over.
Counts are written behind, at least every FLUSH_S, and read again after FRESH_S where there is a limit: gateways on one
database share a limit within seconds, and a process killed loses its last FLUSH_S of counts and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headwater.core.errors import Busy, HeadwaterError
from headwater.core.ports import Spending
from headwater.core.settings import Settings
from headwater.core.types import Actor

log = logging.getLogger("headwater.chat")
DAY_S = 86_400
DAYS_KEPT = 62
FLUSH_S = 1.0
FRESH_S = 2.0
KNOWN_MAX = 10_000
"""Accounts and tokens remembered; those unused for longest are forgotten first, once written."""


class QuotaSpent(Busy):
    """Nothing more today. `retry_after` is until the next day, UTC; `headers` say the same as OpenAI's do."""

    code = "QuotaSpent"

    def __init__(self, message: str, *, headers: dict[str, str], retry_after: int, hint: str):
        super().__init__(message, retry_after=retry_after, hint=hint)
        self.headers = headers


@dataclass(frozen=True)
class Left:
    """One limit. what: requests or tokens. most: 0 is no limit. resets_at: seconds since 1970."""

    whose: str
    what: str
    used: int
    most: int
    resets_at: float


class _Count:
    """Of one account or token in one day: what the records said last, and what they have not been told."""

    def __init__(self) -> None:
        self.told = [0, 0]
        self.new = [0, 0]
        self.asked_at = float("-inf")

    @property
    def sums(self) -> tuple[int, int]:
        return self.told[0] + self.new[0], self.told[1] + self.new[1]


class Quotas:
    """Settings of 0 are no limit. Days are those of UTC. spending None: counted in this process alone.

    Lives in one event loop, from the first take() to close().
    """

    def __init__(self, settings: Settings, spending: Spending | None = None, now: Callable[[], float] = time.time):
        self._settings, self._spending, self._now = settings, spending, now
        self._counts: dict[tuple[str, int], _Count] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._forgot = 0

    async def take(self, actor: Actor) -> None:
        """Count a request. Raises QuotaSpent, and counts nothing, when the account or its token has no more."""
        lines = await self.left(actor)
        for line in lines:
            if line.most and line.used >= line.most:
                wait = int(line.resets_at - self._now()) + 1
                raise QuotaSpent(
                    f"{line.whose} has used {line.used:,} of {line.most:,} {line.what} of today; 0 are left until "
                    f"00:00 UTC, in {_span(wait)}.", retry_after=wait, headers=_headers(lines, wait),
                    hint="An administrator can raise the quota.")
        self._add(actor, 0, 1)

    def used(self, actor: Actor, tokens: int) -> None:
        """Count the tokens of a request that has ended."""
        self._add(actor, 1, tokens)

    async def left(self, actor: Actor) -> list[Left]:
        """The day so far, of the account and then of its token: requests and tokens of each."""
        day, limits = self._today(), self._limits(actor)
        if any(most for _, _, mosts in limits for most in mosts):
            await self._refresh(day, [who for who, *_ in limits])
        return [Left(whose, what, used, most, float((day + 1) * DAY_S)) for who, whose, mosts in limits
                for what, used, most in zip(("requests", "tokens"), self._count(who, day).sums, mosts, strict=True)]

    async def close(self) -> None:
        """Write what is not yet written."""
        if self._flushing is not None:
            self._flushing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flushing
        await self._flush()

    def _limits(self, actor: Actor) -> list[tuple[str, str, tuple[int, int]]]:
        """(key, how an error calls it, (requests, tokens) a day)."""
        s = self._settings
        account = f"account:{actor.account.id}" if actor.account else "account:0"
        limits = [(account, f"The account {actor.name}", (s.user_requests_per_day, s.user_tokens_per_day))]
        if actor.token_id is not None:
            limits.append((f"token:{actor.token_id}", f"The token {actor.token_name!r}",
                           (s.token_requests_per_day, s.token_tokens_per_day)))
        return limits

    def _today(self) -> int:
        return int(self._now() // DAY_S)

    def _count(self, who: str, day: int) -> _Count:
        count = self._counts[who, day] = self._counts.pop((who, day), None) or _Count()
        return count

    def _add(self, actor: Actor, what: int, amount: int) -> None:
        for who, *_ in self._limits(actor):
            self._count(who, self._today()).new[what] += amount
        if self._spending is not None and (self._flushing is None or self._flushing.done()):
            self._flushing = asyncio.create_task(self._flush_soon())

    # --- the records

    async def _refresh(self, day: int, whos: Iterable[str]) -> None:
        """See that the sums of these are at most FRESH_S old."""
        old = time.monotonic() - FRESH_S
        stale = [(who, day) for who in whos if self._count(who, day).asked_at < old]
        if stale and self._spending is not None:
            async with self._turn:
                if stale := [key for key in stale if self._count(*key).asked_at < old]:
                    await self._sync(stale)

    async def _flush_soon(self) -> None:
        while self._unwritten():
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def _flush(self) -> None:
        if self._spending is None:
            return
        async with self._turn:
            try:
                await self._sync(self._unwritten())
            except HeadwaterError as error:  # they are kept here, and written when the database is back
                log.warning("the day's counts could not be written, and will be: %s", error)
                return
        for key in [key for key, count in list(self._counts.items())[:max(0, len(self._counts) - KNOWN_MAX)]
                    if count.new == [0, 0]]:
            del self._counts[key]

    def _unwritten(self) -> list[tuple[str, int]]:
        return [key for key, count in self._counts.items() if count.new != [0, 0]]

    async def _sync(self, keys: list[tuple[str, int]]) -> None:
        """Tell the records what is new of these, hear their sums. Shielded: told is told, whoever hangs up."""
        await asyncio.shield(asyncio.ensure_future(self._sync_now(keys)))

    async def _sync_now(self, keys: list[tuple[str, int]]) -> None:
        for day in {day for _, day in keys}:
            counts = {who: self._counts[who, day] for who, at in keys if at == day and (who, day) in self._counts}
            amounts = {who: (count.new[0], count.new[1]) for who, count in counts.items()}
            for who, count in counts.items():  # what comes while we write is new
                count.new = [0, 0]
                count.told = [a + b for a, b in zip(count.told, amounts[who], strict=True)]
            try:
                sums = await asyncio.to_thread(self._spending.spend, day, amounts)
            except BaseException:
                for who, count in counts.items():
                    count.new = [a + b for a, b in zip(count.new, amounts[who], strict=True)]
                    count.told = [a - b for a, b in zip(count.told, amounts[who], strict=True)]
                raise
            for who, count in counts.items():
                count.told, count.asked_at = list(sums[who]), time.monotonic()
        if self._forgot != (today := self._today()):
            self._forgot = today
            self._counts = {key: count for key, count in self._counts.items()
                            if key[1] >= today - 1 or count.new != [0, 0]}
            await asyncio.to_thread(self._spending.forget, today - DAYS_KEPT)


def _headers(lines: list[Left], wait: int) -> dict[str, str]:
    """As OpenAI's API says it; of each kind the limit that leaves least."""
    told = {}
    for what in ("requests", "tokens"):
        limited = [line for line in lines if line.what == what and line.most]
        if limited:
            least = min(limited, key=lambda line: line.most - line.used)
            told |= {f"X-RateLimit-Limit-{what.title()}": str(least.most),
                     f"X-RateLimit-Remaining-{what.title()}": str(max(0, least.most - least.used)),
                     f"X-RateLimit-Reset-{what.title()}": f"{wait}s"}
    return told


def _span(seconds: int) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
